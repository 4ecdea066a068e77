import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type SandboxOptions, startSandbox } from "gpt-image-client/testing";
import { describe, expect, onTestFinished, test } from "vitest";
import { child, program } from "./child";
import { place } from "./here";

async function stage(name: "trinetra" | "openai" = "trinetra", options: SandboxOptions = {}) {
  const sandbox = await startSandbox({ jobDurationMs: 60, plainImages: true, ...options });
  onTestFinished(() => sandbox.close());
  const directory = place();
  const { baseURL, apiKey } = sandbox[name];
  const env = { [`${name.toUpperCase()}_API_KEY`]: apiKey, XDG_STATE_HOME: join(directory, "s") };
  const generate = ["generate", "--base-url", baseURL];
  return { sandbox, directory, env, generate };
}

const png = "89504e47";
const headOf = (path: string) => readFileSync(path).subarray(0, 4).toString("hex");

describe("in a pipe", () => {
  test("the prompt comes in, and the path goes out", async () => {
    const { env, generate, directory, sandbox } = await stage();
    const script = 'printf "test of a pipe\\n" | "$@" 2> talk.txt | xargs -n1 basename';
    const { code, lines } = await child(generate, { env, script, cwd: directory });
    expect(code).toBe(0);
    expect(lines).toHaveLength(1);
    expect(headOf(join(directory, lines[0] ?? ""))).toBe(png);
    expect(readFileSync(join(directory, "talk.txt"), "utf8")).toContain("done: 1 picture");
    expect(sandbox.requests[0]?.body).toMatchObject({ prompt: "test of a pipe" });
  });

  test("the bytes go out under -o -, whole", async () => {
    const { env, generate, directory } = await stage();
    const argv = [...generate, "-o", "-", "test"];
    const { code } = await child(argv, { env, script: '"$@" | cat > a.png', cwd: directory });
    expect(code).toBe(0);
    const bytes = readFileSync(join(directory, "a.png"));
    expect(bytes.subarray(0, 4).toString("hex")).toBe(png);
    expect(bytes.subarray(-8, -4).toString("latin1")).toBe("IEND");
  });

  test("a reader that leaves after the first of five paths costs nothing", async () => {
    const { env, generate, directory, sandbox } = await stage();
    const argv = [...generate, "-n", "5", "-o", "out/", "test"];
    const script = 'set -o pipefail; "$@" | head -1; echo "code $?"';
    const { lines } = await child(argv, { env, script, cwd: directory });
    expect(lines[1]).toBe("code 0");
    expect(readdirSync(join(directory, "out"))).toHaveLength(5);
    expect(sandbox.charges).toHaveLength(2);
  });

  test("the exit code of each stands in a script's way of reading it", async () => {
    const { env, generate, directory, sandbox } = await stage();
    sandbox.inject({ provider: "trinetra", phase: "create", fault: "refusal", status: 400 });
    const script = 'if path=$("$@"); then echo "made $path"; else echo "code $?"; fi';
    const { lines } = await child([...generate, "test"], { env, script, cwd: directory });
    expect(lines).toEqual(["code 1"]);
  });
});

describe("a disk that is full", () => {
  test("under stdout is code 4, and the picture is there", async () => {
    const { env, generate, directory } = await stage();
    const argv = [...generate, "-o", "out/", "test"];
    const { code, stderr } = await child(argv, { env, script: '"$@" > /dev/full', cwd: directory });
    expect(code).toBe(4);
    expect(stderr).toMatch(/it is in .*out.*, which stdout did not take/);
    expect(readdirSync(join(directory, "out"))).toHaveLength(1);
  });

  test("under the bytes on stdout is code 4, and resume has the picture", async () => {
    const { env, generate, directory, sandbox } = await stage("openai");
    const argv = [...generate, "-o", "-", "test"];
    const { code, stderr } = await child(argv, { env, script: '"$@" > /dev/full', cwd: directory });
    expect(code).toBe(4);
    const job = /resume ([\w-]{36})/.exec(stderr)?.[1] ?? "";
    const resumed = await child(["resume", job], { env, cwd: directory });
    expect([resumed.code, headOf(resumed.lines[0] ?? "")]).toEqual([0, png]);
    expect(sandbox.charges).toHaveLength(1);
  });

  test("under the journal stops the order before it is sent", async ({ skip }) => {
    const { env, generate, sandbox } = await stage();
    const full = smallDisk("16k", skip);
    writeFileSync(join(full, "ballast"), Buffer.alloc(12 * 1024));
    const { code, stderr } = await child([...generate, "--state", join(full, "s"), "test"], {
      env,
    });
    expect(code).toBe(1);
    expect(stderr).toMatch(/no space left/i);
    expect(sandbox.charges).toEqual([]);
  });

  test("under the journal's pictures alone delivers the picture that was paid for", async ({
    skip,
  }) => {
    const { env, generate, sandbox, directory } = await stage("openai", { plainImages: false });
    const small = smallDisk("128k", skip);
    const argv = [...generate, "--state", join(small, "s"), "-o", "out/", "A prompt that is drawn"];
    const { code, lines } = await child(argv, { env, cwd: directory });
    expect(sandbox.charges).toHaveLength(1);
    expect([code, headOf(lines[0] ?? "")]).toEqual([0, png]);
  });

  test("under the pictures' directory is code 4, and resume has it elsewhere", async ({ skip }) => {
    const { env, generate, directory, sandbox } = await stage("trinetra", { plainImages: false });
    const small = smallDisk("64k", skip);
    const argv = [...generate, "-o", `${small}/`, "A prompt that is drawn"];
    const { code, stderr, stdout } = await child(argv, { env });
    expect([code, stdout]).toEqual([4, ""]);
    expect(readdirSync(small)).toEqual([]);
    const job = /resume ([\w-]{36})/.exec(stderr)?.[1] ?? "";
    const resumed = await child(["resume", job, "-o", directory], { env });
    expect([resumed.code, headOf(resumed.lines[0] ?? "")]).toEqual([0, png]);
    expect(sandbox.charges).toHaveLength(1);
  });
});

/** A disk of its own that is soon full. */
function smallDisk(size: string, skip: (why: string) => never): string {
  const directory = join(place(), "disk");
  mkdirSync(directory);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", directory], {
      stdio: "ignore",
    });
  } catch {
    return skip("only root may mount a disk of its own");
  }
  onTestFinished(() => {
    execFileSync("umount", ["-l", directory]);
  });
  return directory;
}

describe("without a network", () => {
  test.each([
    ["nobody listens", "http://127.0.0.1:9"],
    ["the name leads nowhere", "http://nowhere.invalid"],
  ])("where %s: code 1, nothing was charged, and why", async (_, baseURL) => {
    const env = { TRINETRA_API_KEY: "a", XDG_STATE_HOME: place() };
    const argv = ["generate", "--base-url", baseURL, "--timeout", "2s", "test"];
    const { code, stderr, stdout } = await child(argv, { env, cwd: place() });
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("Nothing was charged");
    expect(stderr).toMatch(/again in \d+ s/);
  });
});

describe("in a CI job", () => {
  test("no home, no terminal and no input: plain lines without colours, and a response", async () => {
    const { env, generate, directory } = await stage();
    const script = '"$@" < /dev/null';
    const options = { env: { ...env, CI: "true" }, script, cwd: directory };
    const { code, stderr } = await child([...generate, "test"], options);
    expect(code).toBe(0);
    expect(stderr).not.toMatch(/\p{Cc}(?<!\n)/u);
    const silent = await child(generate, options);
    expect(silent.code).toBe(2);
    expect(silent.stderr).toContain("empty");
  });

  test("FORCE_COLOR colours what is no terminal, and NO_COLOR does not", async () => {
    const { env, generate, directory } = await stage();
    const codes = async (more: Readonly<Record<string, string>>) =>
      (await child([...generate, "test"], { env: { ...env, ...more }, cwd: directory })).stderr;
    expect(await codes({ FORCE_COLOR: "1" })).toMatch(/\p{Cc}\[32mdone:/u);
    expect(await codes({ NO_COLOR: "1" })).toContain("done:");
    expect(await codes({ NO_COLOR: "1" })).not.toMatch(/\p{Cc}\[/u);
  });

  test("a state directory that cannot be made is code 1, and nothing is sent", async () => {
    const { env, generate, sandbox, directory } = await stage();
    writeFileSync(join(directory, "file"), "");
    const more = { ...env, XDG_STATE_HOME: join(directory, "file", "s") };
    const { code, stderr } = await child([...generate, "test"], { env: more, cwd: directory });
    expect(code).toBe(1);
    expect(stderr).toContain("ENOTDIR");
    expect(sandbox.requests).toEqual([]);
  });
});

test("pictures get the modes of the user's umask, and journal and ledger those of their user alone", async () => {
  const { env, generate, directory } = await stage();
  const argv = [...generate, "-o", "below/out/", "test"];
  await child(argv, { env, script: 'umask 0027; "$@"', cwd: directory });
  const out = join(directory, "below", "out");
  const modeOf = (path: string) => statSync(path).mode & 0o777;
  expect([modeOf(out), modeOf(join(directory, "below"))]).toEqual([0o750, 0o750]);
  expect(readdirSync(out).map((file) => modeOf(join(out, file)))).toEqual([0o640]);
  const state = join(directory, "s", "gpt-image-client");
  expect(modeOf(join(state, "ledger.jsonl"))).toBe(0o600);
});

test("two processes that write the same name at once both keep their picture", async () => {
  const { env, generate, directory } = await stage();
  const argv = [...generate, "-o", "same.png", "test"];
  const runs = [1, 2, 3].map(() => child(argv, { env, cwd: directory }));
  const paths = (await Promise.all(runs)).flatMap(({ lines }) => lines);
  expect(new Set(paths).size).toBe(3);
  expect(paths.map((path) => existsSync(path))).toEqual([true, true, true]);
});

test("help and version need no home, no state and no terminal", async () => {
  const help = await child(["--help"]);
  expect([help.code, help.stderr]).toEqual([0, ""]);
  expect(help.stdout).toContain("Exit codes");
  for (const command of ["generate", "edit", "batch", "costs", "serve"]) {
    const { code, stdout } = await child([command, "--help"]);
    expect([code, stdout.split("\n")[0]]).toEqual([0, expect.stringContaining(command)]);
  }
  const version = await child(["--version"]);
  expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  expect((await child([])).code).toBe(2);
});

test("--help takes less than twice the processor time of Node's own start", () => {
  const report = join(place(), "report.cjs");
  writeFileSync(
    report,
    `process.on("exit", () => {
      const { user, system } = process.cpuUsage();
      require("node:fs").writeSync(2, String(user + system));
    });`,
  );
  // The processor's time, in pairs: by the wall clock, a busy machine made it more than twice as long.
  const microsecondsOf = (args: readonly string[]) => {
    const argv = ["--require", report, ...args];
    const { status, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
    expect(status).toBe(0);
    return Number.parseInt(stderr, 10);
  };
  const ratios = Array.from({ length: 11 }, () => {
    const node = microsecondsOf(["-e", "0"]);
    return microsecondsOf([program, "--help"]) / node;
  });
  expect(ratios.sort((a, b) => a - b)[5]).toBeLessThan(2);
});
