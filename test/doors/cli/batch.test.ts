import { EventEmitter } from "node:events";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type SandboxOptions, startSandbox } from "gpt-image-client/testing";
import { describe, expect, onTestFinished, test } from "vitest";
import { type Here, here, place } from "./here";

async function stage(name: "trinetra" | "openai", options: SandboxOptions = {}) {
  const sandbox = await startSandbox({ jobDurationMs: 60, plainImages: true, ...options });
  onTestFinished(() => sandbox.close());
  const directory = place();
  const { baseURL, apiKey } = sandbox[name];
  const env = {
    [`${name.toUpperCase()}_API_KEY`]: apiKey,
    XDG_STATE_HOME: join(directory, "state"),
  };
  const file = join(directory, "batch.jsonl");
  const out = join(directory, "out");
  const write = (lines: readonly object[]) =>
    writeFileSync(file, `${lines.map((line) => JSON.stringify(line)).join("\n")}\n`);
  const argv = ["batch", file, "--base-url", baseURL, "-o", out];
  const run = (more: readonly string[] = [], given: Here = {}) =>
    here([...argv, ...more], { env, ...given });
  return { sandbox, directory, env, file, out, write, run };
}

const prompts = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ id: `line-${index}`, prompt: `test ${index}` }));

describe("batch", () => {
  test("buys each line once, and tells the same paths each time it is started", async () => {
    const { write, run, sandbox, out } = await stage("trinetra");
    write([{ prompt: "test a" }, { id: "b", prompt: "test b", n: 2 }, { prompt: "test a" }]);
    const first = await run();
    expect(first.code).toBe(0);
    expect(first.lines).toHaveLength(4);
    expect(first.lines).toContain(join(out, "b-1.png"));
    // Two equal lines are two orders.
    expect(sandbox.charges).toHaveLength(3);
    const requests = sandbox.requests.length;
    const second = await run();
    expect([second.code, [...second.lines].sort()]).toEqual([0, [...first.lines].sort()]);
    expect(second.stderr).toContain("3 of 3 are there already");
    expect(sandbox.requests).toHaveLength(requests);
  });

  test("has a line's picture again from the journal where its file has gone", async () => {
    const { write, run, sandbox, out } = await stage("openai");
    write(prompts(2));
    await run();
    rmSync(join(out, "line-1.png"));
    const { code, lines } = await run();
    expect(code).toBe(0);
    expect(lines.map((path) => basename(path)).sort()).toEqual(["line-0.png", "line-1.png"]);
    expect(sandbox.charges).toHaveLength(2);
  });

  test("goes on where Ctrl-C has stopped it, and buys nothing twice", async () => {
    const { write, run, sandbox, out } = await stage("trinetra", { jobDurationMs: 150 });
    write(prompts(12));
    const signals = new EventEmitter();
    let isSent = false;
    const onStderr = (text: string) => {
      if (isSent || !/[34] of 12 lines/.test(text)) return;
      isSent = true;
      // While the next ones run.
      setTimeout(() => signals.emit("SIGINT"), 60);
    };
    const first = await run(["--concurrency", "3"], { signals, onStderr });
    // Whether anything runs just then is a matter of milliseconds.
    expect([3, 5]).toContain(first.code);
    expect(sandbox.charges.length).toBeLessThan(12);
    const second = await run(["--concurrency", "3"]);
    expect(second.code).toBe(0);
    expect(second.lines).toHaveLength(12);
    expect(sandbox.charges).toHaveLength(12);
    expect(readdirSync(out)).toHaveLength(12);
  });

  test("asks for so many lines at once, and no more", async () => {
    const { write, run, sandbox } = await stage("openai", { jobDurationMs: 120 });
    write(prompts(6));
    await run(["--concurrency", "2"]);
    const starts = sandbox.requests.map(({ at }) => at).sort((a, b) => a - b);
    const firstTwo = (starts[2] ?? 0) - (starts[0] ?? 0);
    expect(starts).toHaveLength(6);
    expect(firstTwo).toBeGreaterThanOrEqual(100);
  });

  test("keeps the other lines where one fails: code 3, and that line is tried again", async () => {
    const { write, run, sandbox } = await stage("trinetra");
    write(prompts(3));
    sandbox.inject({ provider: "trinetra", phase: "create", fault: "refusal", status: 400 });
    const first = await run(["--concurrency", "1", "--json"]);
    expect(first.code).toBe(3);
    const told = JSON.parse(first.stdout);
    expect(told.lines.map((line: { exitCode: number }) => line.exitCode)).toEqual([1, 0, 0]);
    const second = await run();
    expect([second.code, second.lines.length]).toEqual([0, 3]);
    expect(sandbox.charges).toHaveLength(3);
  });

  test("does not buy a line of unknown fate again, until a person says that it was not charged", async () => {
    const { write, run, sandbox, env } = await stage("openai");
    write(prompts(1));
    const fault = "reset-after-acceptance";
    sandbox.inject({ provider: "openaiCompatible", phase: "create", fault });
    const first = await run(["--json"]);
    expect([first.code, (await run()).code]).toEqual([5, 5]);
    expect(sandbox.charges).toHaveLength(1);
    const { jobId } = JSON.parse(first.stdout).lines[0];
    const settled = await here(["costs", "settle", jobId, "--charged", "no"], { env });
    expect(settled.code).toBe(0);
    const last = await run();
    expect([last.code, last.lines.length]).toEqual([0, 1]);
    expect(sandbox.charges).toHaveLength(2);
  });

  test.each([[], ["--json"]])(
    "under a stdout that is full is code 4, never 1: %j",
    async (...more) => {
      const { write, run, sandbox } = await stage("openai");
      write(prompts(1));
      const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
      expect((await run(more, { stdoutError: full })).code).toBe(4);
      expect((await run(more, { stdoutError: full })).code).toBe(4);
      expect((await run(more)).code).toBe(0);
      expect(sandbox.charges).toHaveLength(1);
    },
  );

  test("does not buy a line again whose files and record are gone, and says so", async () => {
    const { write, run, sandbox, out, directory } = await stage("openai");
    write(prompts(2));
    await run();
    rmSync(join(out, "line-1.png"));
    // As 30 days after it was delivered.
    rmSync(join(directory, "state", "gpt-image-client", "journal"), { recursive: true });
    const { code, lines, stderr } = await run();
    expect([code, lines]).toEqual([0, [join(out, "line-0.png")]]);
    expect(stderr).toMatch(/line 2 was delivered by job [\w-]{32,36}; its files are gone/);
    expect(sandbox.charges).toHaveLength(2);
    expect((await run(["--name", "again"])).code).toBe(0);
    expect(sandbox.charges).toHaveLength(4);
  });

  test("refuses another provider for a line that may be paid for, not for one that is not", async () => {
    const { write, run, sandbox, env } = await stage("openai");
    write(prompts(1));
    const { baseURL, apiKey } = sandbox.trinetra;
    const other = { XDG_STATE_HOME: env.XDG_STATE_HOME ?? "", TRINETRA_API_KEY: apiKey };
    const elsewhere = () => run(["--base-url", baseURL], { env: other });
    sandbox.inject({
      ...{ provider: "openaiCompatible", phase: "create" },
      fault: "reset-after-acceptance",
    });
    expect((await run()).code).toBe(5);
    const refused = await elsewhere();
    expect([refused.code, refused.stderr.includes("--provider openai")]).toEqual([2, true]);
    expect(sandbox.charges).toHaveLength(1);
    write([{ prompt: "test of a refusal" }]);
    const fault = "refusal";
    sandbox.inject({ provider: "openaiCompatible", phase: "create", fault, status: 400 });
    expect((await run()).code).toBe(1);
    expect((await elsewhere()).code).toBe(0);
    expect(sandbox.charges).toHaveLength(2);
  });

  test("buys for real what the sandbox has played", async () => {
    const { write, run, sandbox, env, file, out } = await stage("openai");
    write(prompts(1));
    const played = await here(["batch", file, "-p", "sandbox", "-o", out], { env });
    expect([played.code, sandbox.charges.length]).toEqual([0, 0]);
    expect((await run()).code).toBe(0);
    expect(sandbox.charges).toHaveLength(1);
  });

  test("buys the same lines again under another name", async () => {
    const { write, run, sandbox } = await stage("openai");
    write(prompts(1));
    await run();
    const { code, lines } = await run(["--name", "november"]);
    expect([code, lines.length]).toEqual([0, 1]);
    expect(sandbox.charges).toHaveLength(2);
  });

  test("takes pictures by paths that are seen from its own directory", async () => {
    const { write, run, sandbox, directory } = await stage("openai");
    write([{ id: "first", prompt: "test" }]);
    await run();
    mkdirSync(join(directory, "in"));
    writeFileSync(
      join(directory, "in", "a.png"),
      readFileSync(join(directory, "out", "first.png")),
    );
    const edit = { id: "edit", prompt: "test snow", images: ["in/a.png"] };
    write([edit]);
    expect((await run()).code).toBe(0);
    expect((await run()).code).toBe(0);
    expect(sandbox.charges).toHaveLength(2);
    expect(sandbox.requests.at(-1)?.path).toContain("/images/edits");
  });

  test("refuses what is dearer than --max-cost, counting what is still to be bought alone", async () => {
    const { write, run, sandbox } = await stage("trinetra");
    write(prompts(2));
    const refused = await run(["--max-cost", "13 credits"]);
    expect(refused.code).toBe(1);
    expect(sandbox.requests).toEqual([]);
    expect((await run(["--max-cost", "14 credits"])).code).toBe(0);
    write(prompts(3));
    expect((await run(["--max-cost", "7 credits"])).code).toBe(0);
    expect(sandbox.charges).toHaveLength(3);
  });

  test.each([
    ["no JSON", "{prompt", "Line 1"],
    ["no object", '["a fox"]', "Line 1"],
    ["an id that leads elsewhere", '{"id":"../x","prompt":"a"}', "Line 1"],
    ["a field that there is not", '{"prompt":"a","sise":"1"}', "line 1"],
    ["no prompt", '{"id":"a"}', "line 1"],
    ["a list of pictures that is none", '{"prompt":"a","images":"a.png"}', "Line 1"],
    ["a picture that is not there", '{"prompt":"a","images":["no.png"]}', "no.png"],
    ["nothing", "\n\n", "no line"],
  ])("is code 2 for %s, and sends nothing", async (_, text, words) => {
    const { file, run, sandbox } = await stage("openai");
    writeFileSync(file, `${text}\n{"prompt":"test"}\n`.replace(/^\n\n\n.*\n$/s, "\n"));
    const { code, stderr } = await run();
    expect(code).toBe(2);
    expect(stderr).toContain(words);
    expect(sandbox.requests).toEqual([]);
  });
});
