import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startSandbox } from "gpt-image-client/testing";
import { expect, onTestFinished, test } from "vitest";
import { here, place } from "./here";

async function stage() {
  const sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true });
  onTestFinished(() => sandbox.close());
  const directory = place();
  const { baseURL, apiKey } = sandbox.openai;
  const file = join(directory, "batch.jsonl");
  const write = (text: string) => writeFileSync(file, text);
  const run = (more: readonly string[], key = apiKey) =>
    here(["batch", file, "--base-url", baseURL, ...more], {
      env: { XDG_STATE_HOME: join(directory, "state"), OPENAI_API_KEY: key },
    });
  return { sandbox, directory, write, run };
}

test("a second run into another directory says where the pictures are, and counts them", async () => {
  const { sandbox, directory, write, run } = await stage();
  write('{"prompt":"test"}\n');
  const first = join(directory, "first");
  await run(["-o", first]);
  const { code, stdout, stderr } = await run(["-o", join(directory, "second"), "--json"]);
  expect(stderr).toContain(`What was delivered before stays in ${first}.`);
  const { lines } = JSON.parse(stdout);
  expect(lines).toMatchObject([
    { wanted: 1, delivered: 1, files: [{ path: expect.stringContaining(first) }], exitCode: 0 },
  ]);
  expect([code, sandbox.charges.length]).toEqual([0, 1]);
  // Into the same one there is nothing to say.
  expect((await run(["-o", first])).stderr).not.toContain("stays in");
});

test("a line that may be paid for is not bought again with another key or at another address", async () => {
  const { sandbox, directory, write, run } = await stage();
  write('{"prompt":"test"}\n');
  sandbox.inject({
    provider: "openaiCompatible",
    phase: "create",
    fault: "reset-after-acceptance",
  });
  expect((await run(["-o", directory])).code).toBe(5);
  const sent = sandbox.requests.length;
  for (const other of [
    await run(["-o", directory], "another key"),
    await run(["-o", directory, "--base-url", "https://images.example.com/v1"]),
  ]) {
    expect(other.code).toBe(2);
    expect(other.stderr).toContain("Line 1 was ordered at openai with another key or --base-url");
  }
  expect(sandbox.requests).toHaveLength(sent);
  // What was refused there costs nothing anywhere.
  expect((await run(["-o", directory])).code).toBe(5);
  expect(sandbox.charges).toHaveLength(1);
});

test.each([
  ['[{"prompt":"test"}]', "Line 1: a batch has a JSON object on each line, and is no JSON array"],
  ['{\n  "prompt": "test"\n}', "The whole object goes on one line"],
  ['"test"', 'Line 1: it is to be an object such as {"prompt":"A fox"}'],
])("what is no JSON of lines is said to be none: %j", async (text, message) => {
  const { sandbox, directory, write, run } = await stage();
  write(text);
  const { code, stderr } = await run(["-o", directory]);
  expect(code).toBe(2);
  expect(stderr).toContain(message);
  expect(sandbox.requests).toEqual([]);
});
