import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type Sandbox, type SandboxOptions, startSandbox } from "gpt-image-client/testing";
import { describe, expect, onTestFinished, test } from "vitest";
import { here, place } from "./here";

const png = "89504e47";

const headOf = (path: string) => readFileSync(path).subarray(0, 4).toString("hex");

async function served(options: SandboxOptions = {}): Promise<Sandbox> {
  const sandbox = await startSandbox({ jobDurationMs: 60, plainImages: true, ...options });
  onTestFinished(() => sandbox.close());
  return sandbox;
}

/** The options and the environment that lead to a sandbox. */
function at(sandbox: Sandbox, name: "trinetra" | "openai" | "aigptimage" | "shortapi") {
  const { baseURL, apiKey } = sandbox[name];
  const variable = name === "shortapi" ? "SHORTAPI_KEY" : `${name.toUpperCase()}_API_KEY`;
  const directory = place();
  return {
    directory,
    env: { [variable]: apiKey, XDG_STATE_HOME: join(directory, "state") },
    argv: ["--base-url", baseURL, "-o", `${join(directory, "out")}/`],
  };
}

describe("generate", () => {
  test("makes a picture without a key, and prints its path and nothing else", async () => {
    const directory = place();
    const env = { XDG_STATE_HOME: directory };
    const argv = ["generate", "-p", "sandbox", "-o", `${directory}/out/`, "test of a fox"];
    const { code, lines, stderr } = await here(argv, { env });
    expect(code).toBe(0);
    expect(lines).toHaveLength(1);
    const [path = ""] = lines;
    expect(headOf(path)).toBe(png);
    const job = basename(path, ".png");
    expect(stderr).toContain("7 credits by its list");
    expect(stderr).toMatch(
      new RegExp(`done: 1 picture, 7 credits as the provider reports.*${job}`),
    );
  });

  test("takes the provider whose key is in the environment, and sends the key by no other way", async () => {
    const sandbox = await served();
    const { env, argv } = at(sandbox, "trinetra");
    const { code, lines } = await here(["generate", ...argv, "test"], { env });
    expect(code).toBe(0);
    expect(lines).toHaveLength(1);
    expect(sandbox.charges).toHaveLength(1);
  });

  test("keeps journal, ledger and pictures of the journal for its user alone", async () => {
    const sandbox = await served();
    const { env, argv, directory } = at(sandbox, "trinetra");
    const { lines } = await here(["generate", ...argv, "test"], { env });
    const state = join(directory, "state", "gpt-image-client");
    const modeOf = (path: string) => statSync(path).mode & 0o777;
    expect([modeOf(state), modeOf(join(state, "journal"))]).toEqual([0o700, 0o700]);
    const files = [
      "ledger.jsonl",
      ...readdirSync(join(state, "journal")).map((n) => `journal/${n}`),
    ];
    expect(files.length).toBeGreaterThanOrEqual(3);
    for (const file of files) expect(modeOf(join(state, file))).toBe(0o600);
    // The picture itself is what the user's umask says.
    const umask = process.umask();
    expect(modeOf(lines[0] ?? "")).toBe(0o666 & ~umask);
  });

  test.each([
    ["an argument", ["test of words"], undefined, "test of words"],
    ["a file", ["--prompt-file", "FILE"], undefined, "test in a file"],
    ["a pipe", [], "test of a pipe\n", "test of a pipe"],
    ["a pipe that is named", ["-"], "test of a dash\n", "test of a dash"],
  ])("takes the prompt from %s", async (_, words, stdin, prompt) => {
    const sandbox = await served();
    const { env, argv, directory } = at(sandbox, "trinetra");
    const file = join(directory, "prompt.txt");
    writeFileSync(file, "test in a file\r\n");
    const given = words.map((word) => (word === "FILE" ? file : word));
    const { code } = await here(["generate", ...argv, ...given], {
      env,
      ...(stdin !== undefined && { stdin }),
    });
    expect(code).toBe(0);
    expect(sandbox.requests[0]?.body).toMatchObject({ prompt });
  });

  test("never overwrites: a name that is taken is followed by the next number", async () => {
    const sandbox = await served();
    const { env, argv, directory } = at(sandbox, "trinetra");
    const file = join(directory, "a picture of mine.png");
    writeFileSync(file, "mine");
    const options = [...argv.slice(0, 2), "-o", file];
    const first = await here(["generate", ...options, "test"], { env });
    const second = await here(["generate", ...options, "-n", "2", "test"], { env });
    expect(readFileSync(file, "utf8")).toBe("mine");
    expect(first.lines).toEqual([join(directory, "a picture of mine-2.png")]);
    expect(second.lines).toEqual([
      join(directory, "a picture of mine-1.png"),
      join(directory, "a picture of mine-2-2.png"),
    ]);
    for (const path of [...first.lines, ...second.lines]) expect(headOf(path)).toBe(png);
    expect(readdirSync(directory).filter((name) => name.endsWith(".part"))).toEqual([]);
  });

  test("tells one document under --json, with the files, the cost and the job", async () => {
    const sandbox = await served();
    const { env, argv } = at(sandbox, "trinetra");
    const { code, stdout } = await here(["generate", ...argv, "--json", "-n", "2", "test"], {
      env,
    });
    const told = JSON.parse(stdout);
    expect(code).toBe(0);
    expect(told).toMatchObject({
      ...{ exitCode: 0, wanted: 2, delivered: 2, provider: "trinetra" },
      cost: { amount: 14, unit: "credits", basis: "reported" },
      estimate: { amount: 14, unit: "credits", basis: "list" },
    });
    expect(told.files.map((each: { path: string }) => existsSync(each.path))).toEqual([true, true]);
    expect(told.job.tasks[0].state).toBe("succeeded");
  });

  test("tells a line of JSON for each event under --events, and the document last", async () => {
    const sandbox = await served();
    const { env, argv } = at(sandbox, "trinetra");
    const { lines } = await here(["generate", ...argv, "--events", "test"], { env });
    const types = lines.map((line) => JSON.parse(line).type);
    expect(types[0]).toBe("submitting");
    expect(types).toContain("succeeded");
    expect(types.at(-1)).toBe("result");
  });
});

describe("the price", () => {
  test.each([
    ["is dearer", "6 credits", "more than --max-cost 6 credits"],
    ["has another unit", "0.10 USD", "another unit"],
  ])("is refused by --max-cost where it %s, and nothing is sent", async (_, most, words) => {
    const sandbox = await served();
    const { env, argv } = at(sandbox, "trinetra");
    const { code, stderr } = await here(["generate", ...argv, "--max-cost", most, "test"], { env });
    expect(code).toBe(1);
    expect(stderr).toContain(words);
    expect(sandbox.requests).toEqual([]);
  });

  test("that nobody knows is refused by --max-cost", async () => {
    const sandbox = await served();
    const { env, argv } = at(sandbox, "aigptimage");
    const options = [...argv, "--max-cost", "100 credits", "test"];
    const { code, stderr } = await here(["generate", ...options], { env });
    expect(code).toBe(1);
    expect(stderr).toContain("No price is known");
    expect(sandbox.requests).toEqual([]);
  });

  test("is let through by --max-cost that it does not exceed, for all pictures together", async () => {
    const sandbox = await served();
    const { env, argv } = at(sandbox, "trinetra");
    const two = ["generate", ...argv, "-n", "2", "test", "--max-cost"];
    expect((await here([...two, "13 credits"], { env })).code).toBe(1);
    expect((await here([...two, "14 CREDITS"], { env })).code).toBe(0);
    expect(sandbox.charges).toHaveLength(1);
  });
});

describe("edit", () => {
  test("takes a file of an odd name, and sends its bytes", async () => {
    const sandbox = await served();
    const { env, argv, directory } = at(sandbox, "openai");
    const { lines } = await here(["generate", ...argv, "test"], { env });
    const odd = join(directory, "C:\\pics\\ä ' \" #1?.png");
    writeFileSync(odd, readFileSync(lines[0] ?? ""));
    const { code } = await here(["edit", ...argv, "-i", odd, "test, in snow"], { env });
    expect(code).toBe(0);
    expect(sandbox.requests.at(-1)?.path).toContain("/images/edits");
  });

  test("of a file at a provider that takes URLs alone is refused before anything is sent", async () => {
    const sandbox = await served();
    const { env, argv } = at(sandbox, "trinetra");
    const { code, stderr } = await here(["edit", ...argv, "-i", "a.png", "test"], { env });
    expect(code).toBe(2);
    expect(stderr).toContain("takes pictures by their URLs alone");
    expect(sandbox.requests).toEqual([]);
  });

  test("of a file that is not there sends nothing", async () => {
    const sandbox = await served();
    const { env, argv } = at(sandbox, "openai");
    const { code, stderr } = await here(["edit", ...argv, "-i", "/no/such.png", "test"], { env });
    expect(code).toBe(2);
    expect(stderr).toContain("The picture cannot be read");
    expect(sandbox.charges).toEqual([]);
  });
});

describe("the exit code", () => {
  const faults = [
    [0, "all came", undefined],
    [1, "the provider refused", { phase: "create", fault: "refusal", status: 400 }],
    [1, "moderation refused what is not billed", { phase: "create", fault: "moderation" }],
    [
      4,
      "fewer came than were asked and paid for",
      { phase: "create", fault: "fewer-images", images: 1 },
    ],
    [
      4,
      "it was billed, and cannot be fetched",
      { phase: "download", fault: "not-an-image", times: 99 },
    ],
    [5, "the response was lost", { phase: "create", fault: "reset-after-acceptance" }],
  ] as const;

  test.each(faults)("is %i where %s", async (expected, _, fault) => {
    const sandbox = await served();
    const { env, argv } = at(sandbox, "trinetra");
    if (fault !== undefined) sandbox.inject({ provider: "trinetra", ...fault });
    const options = [...argv, "-n", "2", "--timeout", "5s", "test"];
    const { code } = await here(["generate", ...options], { env });
    expect(code).toBe(expected);
  });

  test.each([
    ["an option that there is not", ["generate", "--sise", "1", "test"], "--sise"],
    ["two prompts", ["generate", "-p", "sandbox", "a", "fox"], "quotes"],
    ["an empty prompt", ["generate", "-p", "sandbox", " "], "empty"],
    ["a provider that there is not", ["generate", "-p", "midway", "test"], "midway"],
    ["no key", ["generate", "-p", "trinetra", "test"], "TRINETRA_API_KEY"],
    ["no provider", ["generate", "test"], "sandbox"],
    ["a size that is none", ["generate", "-p", "sandbox", "--size", "big", "test"], "size"],
    ["an edit of nothing", ["edit", "-p", "sandbox", "test"], "-i"],
    ["a time that is none", ["generate", "-p", "sandbox", "--timeout", "soon", "test"], "10m"],
    ["bytes of two pictures", ["generate", "-p", "sandbox", "-n", "2", "-o", "-", "test"], "one"],
    ["a command that there is not", ["paint", "test"], "paint"],
  ])("is 2 for %s, which is named", async (_, argv, words) => {
    const { code, stderr, stdout } = await here(argv, { env: { XDG_STATE_HOME: place() } });
    expect(code).toBe(2);
    expect(stderr).toContain(words);
    expect(stdout).toBe("");
  });

  test("is 2 where nothing can be written to the directory, before anything is sent", async () => {
    const sandbox = await served();
    const { env, argv, directory } = at(sandbox, "trinetra");
    writeFileSync(join(directory, "file"), "");
    const options = [...argv.slice(0, 2), "-o", join(directory, "file", "below", "a.png")];
    const { code } = await here(["generate", ...options, "test"], { env });
    expect(code).toBe(2);
    expect(sandbox.requests).toEqual([]);
  });
});

describe("stdout", () => {
  test("gets the bytes under -o -", async () => {
    const directory = place();
    const env = { XDG_STATE_HOME: directory };
    const { code, stdout } = await here(["generate", "-p", "sandbox", "-o", "-", "test"], { env });
    expect(code).toBe(0);
    expect(stdout).toContain("PNG");
    expect(createHash("sha256").update(stdout).digest("hex")).toHaveLength(64);
  });

  test("that is full under -o - is code 4, and says how to have the picture", async () => {
    const env = { XDG_STATE_HOME: place() };
    const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    const argv = ["generate", "-p", "sandbox", "-o", "-", "test"];
    const { code, stderr } = await here(argv, { env, stdoutError: full });
    expect(code).toBe(4);
    expect(stderr).toContain("no space left");
    expect(stderr).toContain("  gpt-image-client resume");
  });

  test("that is full says a command that can be typed, also to who has the program by npx alone", async () => {
    const env = { XDG_STATE_HOME: place(), npm_lifecycle_event: "npx" };
    const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    const argv = ["generate", "-p", "sandbox", "-o", "-", "test"];
    const { stderr } = await here(argv, { env, stdoutError: full });
    expect(stderr).toContain("  npx gpt-image-client resume");
  });

  test("whose reader has gone keeps the picture, and is no error", async () => {
    const directory = place();
    const env = { XDG_STATE_HOME: directory };
    const gone = Object.assign(new Error("broken pipe"), { code: "EPIPE" });
    const out = join(directory, "out");
    mkdirSync(out);
    const argv = ["generate", "-p", "sandbox", "-o", out, "test"];
    const { code } = await here(argv, { env, stdoutError: gone });
    expect(code).toBe(0);
    expect(readdirSync(out)).toHaveLength(1);
  });
});
