import { EventEmitter } from "node:events";
import { join } from "node:path";
import { startSandbox } from "gpt-image-client/testing";
import { expect, onTestFinished, test } from "vitest";
import { type Here, here, place } from "./here";

const variables = {
  trinetra: "TRINETRA_API_KEY",
  openai: "OPENAI_API_KEY",
  shortapi: "SHORTAPI_KEY",
} as const;

/** A user with one key, whose orders go to a sandbox that stays. */
async function user(name: "trinetra" | "openai" | "shortapi") {
  const sandbox = await startSandbox({ jobDurationMs: 60, plainImages: true });
  onTestFinished(() => sandbox.close());
  const directory = place();
  const { baseURL, apiKey } = sandbox[name];
  const keyless = { XDG_STATE_HOME: join(directory, "state") };
  const env = { ...keyless, [variables[name]]: apiKey };
  const generate = ["generate", "--base-url", baseURL, "-o", `${join(directory, "out")}/`];
  const call = (argv: readonly string[], more: Here = {}) => here(argv, { env, ...more });
  return { sandbox, env, keyless, generate, call };
}

test("what the sandbox played until Ctrl-C is said, and let go, whatever keys there are", async () => {
  const env = { XDG_STATE_HOME: place(), TRINETRA_API_KEY: "one that is not the sandbox's" };
  const signals = new EventEmitter();
  const onStderr = (text: string) => {
    if (/queued|running/.test(text)) setTimeout(() => signals.emit("SIGINT"), 20);
  };
  await here(["generate", "-p", "sandbox", "test of a stop"], { env, signals, onStderr });
  const { code, stderr } = await here(["recover"], { env });
  expect(code).toBe(1);
  expect(stderr).toContain("played by a sandbox that has ended. Nothing was charged.");
  const again = await here(["recover"], { env });
  expect([again.code, again.stderr]).toEqual([0, "Nothing is to be recovered.\n"]);
});

test("what was refused counts neither as an order nor as pictures, save by its state", async () => {
  const { sandbox, generate, call } = await user("shortapi");
  sandbox.inject({
    provider: "shortapi",
    phase: "create",
    fault: "refusal",
    status: 402,
    times: 3,
  });
  const refused = await call([...generate, "-n", "3", "test"]);
  expect(refused.code).toBe(1);
  // They were not done.
  expect(refused.stderr).toContain("0 of 3 done, 3 failed");
  const none = await call(["costs"]);
  expect([none.stdout, none.stderr]).toEqual([
    "",
    "Nothing was ordered that costs. --by state has what failed, too.\n",
  ]);
  await call([...generate, "-n", "2", "test"]);
  expect(JSON.parse((await call(["costs", "--json"])).stdout)).toMatchObject([
    { group: { client: "shortapi" }, orders: 1, images: 2, unknown: 0 },
  ]);
  const states = JSON.parse((await call(["costs", "--json", "--by", "state"])).stdout);
  expect(states).toMatchObject([
    { group: { state: "refunded" }, orders: 1, images: 3 },
    { group: { state: "charged" }, orders: 1, images: 2 },
  ]);
});

test.each(["no", "yes"])(
  "what is unknown is settled without a key: --charged %s",
  async (charged) => {
    const { sandbox, generate, call, keyless } = await user("openai");
    sandbox.inject({
      provider: "openaiCompatible",
      phase: "create",
      fault: "reset-after-acceptance",
    });
    const { code, stderr } = await call([...generate, "test"]);
    const id = /costs settle ([\w-]{36})/.exec(stderr)?.[1] ?? "";
    expect(code).toBe(5);
    const settled = await here(["costs", "settle", id, "--charged", charged], { env: keyless });
    expect([settled.code, settled.stderr]).toEqual([
      0,
      `settled: it was ${charged === "no" ? "not " : ""}charged\n`,
    ]);
    expect((await call(["recover"])).stderr).toBe("Nothing is to be recovered.\n");
    const [row] = JSON.parse((await call(["costs", "--json", "--by", "state"])).stdout);
    expect(row.group.state).toBe(charged === "no" ? "refunded" : "charged");
    expect(sandbox.charges).toHaveLength(1);
  },
);
