import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startSandbox } from "gpt-image-client/testing";
import { expect, test } from "vitest";
import { here, place } from "./here";

const withKey = () => ({ XDG_STATE_HOME: place(), TRINETRA_API_KEY: "a key" });

test.each([
  [["--foo", "a"], 'There is no option --foo. A prompt that begins with "-" goes after "--"'],
  [["-z", "a"], 'There is no option -z. A prompt that begins with "-" goes after "--"'],
  [["--no-json", "a"], 'There is no option --no-json. A prompt that begins with "-" goes after'],
  [["a", "-o"], "-o takes a value"],
  [["a", "--size"], "--size takes a value"],
  [["-o", "-x", "a"], '-o takes a value, and "-x" looks like an option: write --output=-x'],
  [["--json=3", "a"], '--json takes no value, and was given "3"'],
])("what is written wrongly is said in a sentence: %j", async (argv, message) => {
  const { code, stderr, stdout } = await here(["generate", ...argv], { env: withKey() });
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain(`error: ${message}`);
  expect(stderr).toContain("gpt-image-client generate --help");
});

test("an option that looks like one is taken after an equals sign, and a prompt after two dashes", async () => {
  const argv = ["estimate", "-p", "openai", "--size=1024x1024", "--", "--a prompt"];
  const { code } = await here(argv);
  expect(code).toBe(0);
});

test("what a provider does not take is named by its option", async () => {
  const argv = ["generate", "-p", "trinetra", "--size", "17x3", "--quality", "best"];
  const more = ["--format", "tiff", "--compression", "300", "--background", "plaid", "a"];
  const { code, stderr } = await here([...argv, ...more], { env: withKey() });
  expect(code).toBe(2);
  for (const option of ["--size", "--quality", "--format", "--compression", "--background"]) {
    expect(stderr).toMatch(new RegExp(`^error: (trinetra: )?${option} is `, "m"));
  }
  expect(stderr).toContain("or --aspect-ratio, got");
  expect(stderr).not.toContain("`");
});

test("a file for a provider that takes URLs alone is named, and who takes files", async () => {
  const file = join(place(), "a.png");
  writeFileSync(file, "no picture, which nobody finds out");
  const argv = ["edit", "-p", "trinetra", "-i", file, "a"];
  const { code, stderr } = await here(argv, { env: withKey() });
  expect(code).toBe(2);
  expect(stderr).toBe(
    `error: -i ${file}: trinetra takes pictures by their URLs alone; openai and openai-compatible take files\n`,
  );
});

test.each([
  ["that is not there", "nope.png", "ENOENT"],
  ["that is a directory", ".", "is a directory"],
])("an input %s is a mistake in the command", async (_, name, why) => {
  const directory = place();
  const argv = ["edit", "-p", "sandbox", "-i", join(directory, name), "a"];
  const { code, stderr, stdout } = await here(argv, { env: { XDG_STATE_HOME: directory } });
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain(why);
  expect(stderr.split("\n")).toHaveLength(2);
});

test("the name of the file says the format, where none is given", async () => {
  await using sandbox = await startSandbox({ jobDurationMs: 20 });
  const directory = place();
  const { baseURL, apiKey } = sandbox.openai;
  const env = { XDG_STATE_HOME: place(), OPENAI_API_KEY: apiKey };
  const call = (...argv: string[]) =>
    here(["generate", "-p", "openai", "--base-url", baseURL, ...argv, "a"], { env });
  const first = await call("-o", join(directory, "a.jpg"));
  expect([first.code, first.stderr]).toEqual([0, expect.not.stringContaining("warning")]);
  expect(readFileSync(join(directory, "a.jpg")).subarray(0, 3).toString("hex")).toBe("ffd8ff");
  const other = await call("-o", join(directory, "b.jpg"), "--format", "webp");
  expect(other.code).toBe(0);
  expect(other.stderr).toContain("b.jpg is called jpeg, and holds webp");
  expect(readdirSync(directory).sort()).toEqual(["a.jpg", "b.jpg"]);
});
