import { EventEmitter } from "node:events";
import { join } from "node:path";
import { startSandbox } from "gpt-image-client/testing";
import { expect, onTestFinished, test } from "vitest";
import { type Here, here, place } from "./here";

/** A user with one key, whose orders go to a sandbox that stays. */
async function user(name: "trinetra" | "openai") {
  const sandbox = await startSandbox({ jobDurationMs: 60, plainImages: true });
  onTestFinished(() => sandbox.close());
  const directory = place();
  const { baseURL, apiKey } = sandbox[name];
  const keyless = { XDG_STATE_HOME: join(directory, "state") };
  const env = { ...keyless, [`${name.toUpperCase()}_API_KEY`]: apiKey };
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
