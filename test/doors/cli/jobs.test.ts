import { EventEmitter } from "node:events";
import { readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { type SandboxOptions, startSandbox } from "gpt-image-client/testing";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { type Here, here, place } from "./here";

/** A user with one key, whose orders go to a sandbox. */
async function user(name: "trinetra" | "openai" | "aigptimage", options: SandboxOptions = {}) {
  const sandbox = await startSandbox({ jobDurationMs: 60, plainImages: true, ...options });
  onTestFinished(() => sandbox.close());
  const directory = place();
  const { baseURL, apiKey } = sandbox[name];
  const variable = `${name.toUpperCase()}_API_KEY`;
  const env = { [variable]: apiKey, XDG_STATE_HOME: join(directory, "state") };
  const out = join(directory, "out");
  const generate = ["generate", "--base-url", baseURL, "-o", `${out}/`];
  const keyless = { XDG_STATE_HOME: env.XDG_STATE_HOME ?? "" };
  const state = join(directory, "state", "gpt-image-client");
  const call = (argv: readonly string[], more: Here = {}) => here(argv, { env, ...more });
  /** Orders, and is stopped while the job runs. */
  const stopped = async () => {
    const signals = new EventEmitter();
    const onStderr = (text: string) => {
      if (/queued|running/.test(text)) setTimeout(() => signals.emit("SIGINT"), 20);
    };
    const { stderr } = await call([...generate, "test of a stop"], { signals, onStderr });
    return /resume ([\w-]{36})/.exec(stderr)?.[1] ?? "";
  };
  return { sandbox, out, state, env, keyless, generate, call, stopped, directory };
}

describe("resume", () => {
  test("has the picture of a job that runs, which is paid for once", async () => {
    const { stopped, call, out, sandbox } = await user("trinetra", { jobDurationMs: 500 });
    const job = await stopped();
    const { code, lines } = await call(["resume", job, "-o", out]);
    expect(code).toBe(0);
    expect(lines).toEqual([join(out, `${job}.png`)]);
    expect(sandbox.charges).toHaveLength(1);
    const totals = JSON.parse((await call(["costs", "--json"])).stdout);
    expect(totals).toMatchObject([{ orders: 1, charged: 7, reserved: 0, unknown: 0 }]);
  });

  test.each(["trinetra", "openai"] as const)(
    "has the pictures of a job that ended, of %s, without a key and without its provider",
    async (name) => {
      const { generate, call, keyless, sandbox, directory } = await user(name);
      const { stdout } = await call([...generate, "--json", "-n", "2", "test"]);
      const { job, files } = JSON.parse(stdout);
      await sandbox.close();
      const again = join(directory, "again");
      const argv = ["resume", job.id.slice(0, 8), "-o", `${again}/`];
      const { code, lines } = await here(argv, { env: keyless });
      expect(code).toBe(0);
      expect(lines).toEqual([join(again, `${job.id}-1.png`), join(again, `${job.id}-2.png`)]);
      expect(readFileSync(lines[1] ?? "")).toEqual(readFileSync(files[1].path));
    },
  );

  test("of a job that failed says why, with the code of its charge", async () => {
    const { generate, call, sandbox } = await user("aigptimage");
    sandbox.inject({ provider: "aigptimage", phase: "create", fault: "failure" });
    const first = await call([...generate, "--json", "test"]);
    const { jobId } = JSON.parse(first.stdout);
    const second = await call(["resume", jobId]);
    expect([first.code, second.code]).toEqual([5, 5]);
    expect(second.stderr).toContain("may have been charged");
  });

  test("of a job that runs, without its key, says how to have it, and not to write it off", async () => {
    const { stopped, call, keyless, out, sandbox } = await user("trinetra", { jobDurationMs: 500 });
    const job = await stopped();
    const { code, stderr } = await here(["resume", job, "-o", out], { env: keyless });
    expect(code).toBe(5);
    expect(stderr).toContain("put the key that it was ordered with into the environment");
    expect(stderr).toContain(`gpt-image-client resume ${job}`);
    expect(stderr).not.toContain("costs settle");
    expect((await call(["resume", job, "-o", out])).code).toBe(0);
    expect(sandbox.charges).toHaveLength(1);
  });

  test.each([
    ["a job that is not there", ["resume", "nobody"], 2],
    ["no job", ["resume"], 2],
    ["a job that runs, without its key", ["resume", "JOB"], 5],
  ])("of %s is an error that says what to do", async (_, argv, expected) => {
    const { stopped, keyless } = await user("trinetra", { jobDurationMs: 300 });
    const job = await stopped();
    const given = argv.map((word) => (word === "JOB" ? job : word));
    const { code, stderr } = await here(given, { env: keyless });
    expect(code).toBe(expected);
    expect(stderr).toMatch(/the command "jobs"|takes the id|environment/);
  });

  test("under a stdout that is full is code 4, and the document is lost alone", async () => {
    const { generate, call, out } = await user("trinetra");
    const { job } = JSON.parse((await call([...generate, "--json", "test"])).stdout);
    const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    const argv = ["resume", job.id, "-o", `${out}/again/`, "--json"];
    const { code, stderr } = await call(argv, { stdoutError: full });
    expect([code, stderr.includes("no space left")]).toEqual([4, true]);
    expect(readdirSync(join(out, "again"))).toHaveLength(1);
  });

  test.each([
    [4, "fewer pictures than were paid for", { images: [] }],
    [5, "no reason why it failed", { state: "failed" }],
  ])("is code %i where the journal has %s", async (expected, _, change) => {
    const { generate, call, keyless, state } = await user("trinetra");
    const { job } = JSON.parse((await call([...generate, "--json", "test"])).stdout);
    const path = join(state, "journal", `${job.id}.0.json`);
    const record = JSON.parse(readFileSync(path, "utf8"));
    writeFileSync(path, JSON.stringify({ ...record, ...change }));
    expect((await here(["resume", job.id], { env: keyless })).code).toBe(expected);
  });

  test.each(["resume", "recover"])(
    "(or %s) that cannot begin never says that nothing was charged",
    async (command) => {
      const state = join(place(), "file");
      writeFileSync(state, "");
      const { code } = await here(
        [command, "x", "--state", state].filter((word) => command === "resume" || word !== "x"),
      );
      expect(code).toBe(5);
    },
  );

  test("of another account's job asks nobody, with whichever key", async () => {
    const { stopped, env, sandbox } = await user("trinetra", { jobDurationMs: 300 });
    const job = await stopped();
    const before = sandbox.requests.length;
    const { code } = await here(["resume", job], { env: { ...env, TRINETRA_API_KEY: "another" } });
    expect(code).toBe(5);
    expect(sandbox.requests.length).toBe(before);
  });
});

describe("recover", () => {
  test("has what runs and what ended undelivered, once, and then nothing more", async () => {
    const { generate, stopped, call, out, state, sandbox } = await user("trinetra", {
      jobDurationMs: 400,
    });
    const running = await stopped();
    const done = JSON.parse((await call([...generate, "--json", "test"])).stdout).job.id;
    // As if the process had been killed before its file was there.
    rmSync(join(state, "delivered", `${done}.json`));
    rmSync(out, { recursive: true });
    const { code, lines } = await call(["recover", "-o", `${out}/`]);
    expect(code).toBe(0);
    expect([...lines].sort()).toEqual([running, done].map((id) => join(out, `${id}.png`)).sort());
    expect(sandbox.charges).toHaveLength(2);
    const again = await call(["recover", "-o", `${out}/`, "--json"]);
    expect([again.code, JSON.parse(again.stdout)]).toEqual([0, { jobs: [] }]);
  });

  test("says what nobody can know, with code 5, until a person settles it", async () => {
    const { generate, call, sandbox, out } = await user("openai");
    sandbox.inject({
      provider: "openaiCompatible",
      phase: "create",
      fault: "reset-after-acceptance",
    });
    expect((await call([...generate, "test"])).code).toBe(5);
    const first = await call(["recover", "-o", out]);
    expect(first.code).toBe(5);
    const job = /costs settle ([\w-]{36})/.exec(first.stderr)?.[1] ?? "";
    const costs = await call(["costs"]);
    expect(costs.stderr).toContain(job);
    expect((await call(["costs", "settle", job, "--charged", "yes"])).code).toBe(0);
    const second = await call(["recover", "-o", out]);
    expect([second.code, second.lines]).toEqual([0, []]);
    expect((await call(["costs"])).stderr).not.toContain(job);
    // Said twice it is a mistake.
    expect((await call(["costs", "settle", job, "--charged", "no"])).code).toBe(2);
  });

  test("leaves a job alone that a process has, and is code 5: the number may be another's", async () => {
    const { stopped, call, state, out, sandbox } = await user("trinetra", { jobDurationMs: 300 });
    const job = await stopped();
    const path = join(state, "journal", `${job}.0.json`);
    const record = JSON.parse(readFileSync(path, "utf8"));
    const owner = { ...record.owner, host: hostname(), pid: process.ppid };
    writeFileSync(path, JSON.stringify({ ...record, owner }));
    const first = await call(["recover", "-o", `${out}/`]);
    expect([first.code, first.lines]).toEqual([5, []]);
    expect(first.stderr).toContain(`gpt-image-client resume ${job}`);
    const { code, lines } = await call(["resume", job, "-o", `${out}/`]);
    expect([code, lines.length]).toEqual([0, 1]);
    expect(sandbox.charges).toHaveLength(1);
  });

  test("settled with the provider's id, it has the picture that was paid for", async () => {
    const { generate, call, sandbox, out } = await user("trinetra");
    sandbox.inject({ provider: "trinetra", phase: "create", fault: "reset-after-acceptance" });
    const { stdout } = await call([...generate, "--json", "test"]);
    const { jobId } = JSON.parse(stdout);
    const [accepted] = sandbox.jobs;
    const found = ["--charged", "yes", "--task-id", accepted?.jobId ?? ""];
    expect((await call(["costs", "settle", jobId, ...found])).code).toBe(0);
    const { code, lines } = await call(["resume", jobId, "-o", out]);
    expect([code, lines.length]).toEqual([0, 1]);
    expect(sandbox.charges).toHaveLength(1);
  });
});

describe("costs settle", () => {
  test.each([
    ["--charged", "no"],
    ["--charged", "yes", "--task-id", "task-1"],
  ])("refuses a job that runs, and changes nothing: %s %s", async (...found) => {
    const { stopped, call, out } = await user("trinetra", { jobDurationMs: 400 });
    const job = await stopped();
    const before = (await call(["costs", "--json"])).stdout;
    const { code, stderr } = await call(["costs", "settle", job, ...found]);
    expect([code, stderr.includes("it is running")]).toEqual([2, true]);
    expect((await call(["costs", "--json"])).stdout).toBe(before);
    expect((await call(["resume", job, "-o", `${out}/`])).code).toBe(0);
    const totals = JSON.parse((await call(["costs", "--json"])).stdout);
    expect(totals).toMatchObject([{ orders: 1, charged: 7, reserved: 0, unknown: 0 }]);
  });

  test("ends the entry of a job that failed without saying whether it was charged", async () => {
    const { generate, call, sandbox } = await user("aigptimage");
    sandbox.inject({ provider: "aigptimage", phase: "create", fault: "failure" });
    const { jobId } = JSON.parse((await call([...generate, "--json", "test"])).stdout);
    const found = ["--charged", "yes", "--task-id", "task-1"];
    expect((await call(["costs", "settle", jobId, ...found])).code).toBe(2);
    expect((await call(["costs", "settle", jobId, "--charged", "no"])).code).toBe(0);
    expect((await call(["costs"])).stderr).not.toContain(jobId);
    expect((await call(["costs", "settle", jobId, "--charged", "no"])).code).toBe(2);
  });

  test("refuses a job that has ended", async () => {
    const { generate, call } = await user("trinetra");
    const { job } = JSON.parse((await call([...generate, "--json", "test"])).stdout);
    const found = ["--charged", "yes", "--task-id", "task-1"];
    expect((await call(["costs", "settle", job.id, ...found])).code).toBe(2);
  });
});

describe("jobs", () => {
  test("lists what was ordered, with prompts in which nothing moves the cursor", async () => {
    const { generate, call } = await user("trinetra");
    await call([...generate, "test \u001b[2J\u001b]0;title\u0007red\u009b31m\u202ereversed"]);
    const { code, stdout } = await call(["jobs"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /done {2,}\d+ s {2,}trinetra {2,}1 {2,}7 credits {2,}test red31mreversed/,
    );
    expect(stdout).not.toMatch(/[^\P{Cc}\n]|\u202e/u);
    const [told] = JSON.parse((await call(["jobs", "--json"])).stdout);
    expect(told).toMatchObject({ state: "done", pictures: 1, charged: "yes" });
    expect(told.files).toHaveLength(1);
  });

  test("of an empty journal says so, on stderr", async () => {
    const { code, stdout, stderr } = await here(["jobs"], { env: { XDG_STATE_HOME: place() } });
    expect([code, stdout]).toEqual([0, ""]);
    expect(stderr).toContain("empty");
  });
});

describe("costs", () => {
  test("shows what was spent by provider, with bars, and leaves the sandbox's out of the sum", async () => {
    const { generate, call } = await user("trinetra");
    await call([...generate, "-n", "2", "test"]);
    const directory = place();
    await call(["generate", "-p", "sandbox", "-o", directory, "test"]);
    const { stdout } = await call(["costs"]);
    const rows = stdout.split("\n").map((line) => line.replace(/ {2,}/g, "|"));
    expect(rows[0]).toBe("client|orders|pictures|charged|open");
    expect(rows[1]).toBe(`trinetra|1|2|14 credits|-|${"█".repeat(24)}`);
    expect(rows[2]).toBe(`sandbox (not billed)|1|1|7 credits|-|${"█".repeat(12)}`);
    expect(rows[3]).toBe("in all|1|2|14 credits|-");
    const csv = (await call(["costs", "--csv"])).stdout;
    expect(csv.split("\r\n")[1]).toContain("trinetra,trinetra,,generate,2,charged,14,credits");
    expect((await call(["costs", "--by", "month", "--from", "2020-01-01"])).code).toBe(0);
    expect((await call(["costs", "--to", "2020-01-01"])).stderr).toContain("Nothing was ordered");
  });

  test.each([
    [["costs", "--by", "moon"]],
    [["costs", "--from", "yesterday"]],
    [["costs", "rise"]],
    [["costs", "settle", "x"]],
    [["costs", "settle", "x", "--charged", "yes"]],
    [["costs", "settle", "x", "--charged", "no", "--task-id", "y"]],
  ])("is code 2 for %j", async (argv) => {
    expect((await here(argv, { env: { XDG_STATE_HOME: place() } })).code).toBe(2);
  });
});

test("a job of a sandbox that has ended is said once, and then forgotten", async () => {
  const directory = place();
  const env = { XDG_STATE_HOME: join(directory, "state") };
  const signals = new EventEmitter();
  const onStderr = (text: string) => {
    if (/queued|running/.test(text)) setTimeout(() => signals.emit("SIGINT"), 20);
  };
  const argv = ["generate", "-p", "sandbox", "-o", directory, "test"];
  const stopped = await here(argv, { env, signals, onStderr });
  expect(stopped.code).toBe(5);
  expect(stopped.stderr).toContain("The sandbox has ended with this command");
  const first = await here(["recover", "-o", directory], { env });
  expect([first.code, first.stderr.includes("sandbox that has ended")]).toEqual([1, true]);
  const second = await here(["recover", "-o", directory], { env });
  expect([second.code, second.stderr]).toEqual([0, "Nothing is to be recovered.\n"]);
});

test("what was delivered more than 30 days ago is forgotten, and nothing that was not", async () => {
  const { generate, call, state } = await user("trinetra");
  const ids: string[] = [];
  for (let index = 0; index < 3; index += 1) {
    ids.push(JSON.parse((await call([...generate, "--json", "test"])).stdout).job.id);
  }
  const [delivered = "", undelivered = "", young = ""] = ids;
  const long = new Date(Date.now() - 31 * 24 * 60 * 60 * 1000);
  for (const id of [delivered, undelivered]) {
    const path = join(state, "journal", `${id}.0.json`);
    const record = JSON.parse(readFileSync(path, "utf8"));
    writeFileSync(path, JSON.stringify({ ...record, settledAt: long.toISOString() }));
  }
  rmSync(join(state, "delivered", `${undelivered}.json`));
  utimesSync(join(state, "tidied"), long, long);
  await call([...generate, "test"]);
  const left = readdirSync(join(state, "journal"));
  const has = (id: string) => left.some((name) => name.startsWith(id));
  expect([has(delivered), has(undelivered), has(young)]).toEqual([false, true, true]);
  await vi.waitFor(() => expect(readdirSync(join(state, "delivered"))).toHaveLength(2), 20_000);
});
