import { createPostgresJournal, migrate, migrations } from "gpt-image-client/postgres";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createImageClient, openai } from "../../src/index";
import { fakeImageClient, type Sandbox, startSandbox } from "../../src/testing";

// What JavaScript callers may do.
const wrong = (value: unknown) => value as never;

let sandbox: Sandbox;

beforeEach(async () => {
  sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true });
});

afterEach(() => sandbox.close());

test("openai has an access of its own in the sandbox, so that no test goes to OpenAI", async () => {
  const client = createImageClient({ provider: openai(sandbox.openai) });
  await client.generate({ prompt: "A fox" });
  expect(sandbox.openai).toEqual(sandbox.openaiCompatible);
  expect(sandbox.charges).toMatchObject([{ provider: "openaiCompatible" }]);
});

const target = { provider: "trinetra", phase: "create" };

test.each([
  [
    { provider: "openai", phase: "create", fault: "hang" },
    'There is no provider "openai": there are shortapi, aigptimage, trinetra, openaiCompatible (which is sandbox.openai, too).',
  ],
  [{ phase: "create", fault: "hang" }, "There is no provider undefined"],
  [{ ...target, fault: "hangs" }, 'There is no fault "hangs": there are reset-before-acceptance,'],
  [{ ...target, fault: "toString" }, 'There is no fault "toString"'],
  [{ ...target, phase: "creat", fault: "slow" }, "not for creat"],
  [
    { ...target, fault: "slow", delay: 5 },
    'There is no `delay` in the fault "slow": there are provider, phase, fault, times, after, delayMs.',
  ],
  [
    { ...target, fault: "missing", phase: "poll", delayMs: 5 },
    "There is no `delayMs` in the fault",
  ],
  [{ ...target, fault: "slow", delayMs: 5, time: 2 }, "There is no `time`"],
])("a fault that would never strike is refused: %j", (fault, complaint) => {
  expect(() => sandbox.inject(wrong(fault))).toThrow(complaint);
});

test("an option that there is not is refused by the sandbox, the fake client and the journal", async () => {
  await expect(startSandbox(wrong({ jobDuration: 5 }))).rejects.toThrow(
    "There is no `jobDuration`: there are port, separateCdn, jobDurationMs,",
  );
  expect(() => fakeImageClient(wrong({ costs: 5 }))).toThrow(
    "There is no `costs`: there are name,",
  );
  const pool = { query: () => Promise.reject(new Error("Nothing is to be asked")) };
  const shema = wrong({ shema: "mine" });
  expect(() => createPostgresJournal(pool, shema)).toThrow(
    "There is no `shema`: there are schema,",
  );
  expect(() => migrations(shema)).toThrow("There is no `shema`");
  await expect(migrate(pool, shema)).rejects.toThrow("There is no `shema`");
});

test("an option that is undefined counts as left out", () => {
  expect(fakeImageClient(wrong({ costs: undefined })).name).toBe("fake");
});
