import { EventEmitter } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { startSandbox } from "gpt-image-client/testing";
import { expect, onTestFinished, test, vi } from "vitest";
import { here, place } from "./here";

/** Runs an order against a sandbox, and sends it signals once something is said. */
async function interrupted(
  name: "trinetra" | "openai",
  given: {
    readonly more?: readonly string[];
    readonly jobDurationMs?: number;
    readonly after: RegExp;
    readonly times: number;
    /** Milliseconds between two signals: within 500 they are the same key press. */
    readonly gapMs?: number;
  },
) {
  const { jobDurationMs = 600, times, after, more = [], gapMs = 520 } = given;
  const sandbox = await startSandbox({ jobDurationMs, plainImages: true });
  onTestFinished(() => sandbox.close());
  const directory = place();
  const { baseURL, apiKey } = sandbox[name];
  const env = {
    [`${name.toUpperCase()}_API_KEY`]: apiKey,
    XDG_STATE_HOME: join(directory, "state"),
  };
  const out = join(directory, "out");
  const argv = ["generate", "--base-url", baseURL, "-o", `${out}/`, ...more, "test"];
  const signals = new EventEmitter();
  let isSent = false;
  const onStderr = (text: string) => {
    if (isSent || !after.test(text)) return;
    isSent = true;
    let left = times;
    const send = () => {
      signals.emit("SIGINT");
      left -= 1;
      if (left > 0) setTimeout(send, gapMs);
    };
    setTimeout(send, 30);
  };
  const ended = await here(argv, { env, signals, onStderr });
  const journal = join(directory, "state", "gpt-image-client", "journal");
  const records = readdirSync(journal).filter((file) => file.endsWith(".json"));
  const states = records.map((file) => JSON.parse(readFileSync(join(journal, file), "utf8")).state);
  return { ...ended, sandbox, states, out };
}

test("Ctrl-C while a job runs ends with code 5, and says how to have its picture", async () => {
  const { code, stderr, states, sandbox } = await interrupted("trinetra", {
    ...{ after: /queued|running/, times: 1 },
  });
  expect(code).toBe(5);
  expect(stderr).toMatch(/gpt-image-client resume [\w-]{36}/);
  expect(states).toEqual(["submitted"]);
  await vi.waitFor(() => expect(sandbox.charges).toHaveLength(1), 5_000);
});

test("Ctrl-C while a create is on its way learns its job all the same", async () => {
  const { code, stderr, states } = await interrupted("trinetra", { after: /sending/, times: 1 });
  expect(code).toBe(5);
  expect(stderr).toContain("gpt-image-client resume");
  expect(states).toEqual(["submitted"]);
});

test("the first Ctrl-C waits for a picture that is the response itself, and the code is 0", async () => {
  const { code, lines, sandbox } = await interrupted("openai", { after: /sending/, times: 1 });
  expect(code).toBe(0);
  expect(lines).toHaveLength(1);
  expect(sandbox.charges).toHaveLength(1);
});

test("two signals of one key press are one, as npm passes on what it hears", async () => {
  const { code, lines } = await interrupted("openai", { after: /sending/, times: 2, gapMs: 20 });
  expect([code, lines.length]).toEqual([0, 1]);
});

test("the second Ctrl-C tears it: code 5, and it was asked for once", async () => {
  const { code, lines, sandbox, states, stderr } = await interrupted("openai", {
    ...{ jobDurationMs: 3_000, after: /sending/, times: 2 },
  });
  expect(code).toBe(5);
  expect(lines).toEqual([]);
  // Nothing can ask for it again: only a person can say what became of it.
  expect(stderr).toMatch(/costs settle [\w-]{36}/);
  expect(states).toEqual(["unknown"]);
  expect(sandbox.requests.filter(({ phase }) => phase === "create")).toHaveLength(1);
});

test("Ctrl-C stops what was not sent yet, and keeps what was: code 3", async () => {
  const { code, lines, sandbox } = await interrupted("openai", {
    more: ["-n", "30", "--concurrency", "1"],
    ...{ after: /sending/, times: 1 },
  });
  expect(code).toBe(3);
  expect(lines).toHaveLength(10);
  expect(sandbox.charges).toHaveLength(1);
});

test("a third Ctrl-C ends the process at once", async () => {
  const { code } = await interrupted("openai", {
    ...{ jobDurationMs: 3_000, after: /sending/, times: 3 },
  });
  expect(code).toBe(5);
});
