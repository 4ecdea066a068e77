import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import * as fs from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeDirectory, makeDirectorySync } from "../../src/files/directories";

let home = "";

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "make-directory-"));
});
afterAll(() => rmSync(home, { recursive: true }));

test("a directory is made with those above it, and the topmost new one is given", async () => {
  const path = join(home, "a", "b", "c");
  expect(await makeDirectory(path)).toBe(join(home, "a"));
  expect(await makeDirectory(path)).toBeUndefined();
  expect(await makeDirectory(join(home, "a", "b", "d", ""))).toBe(join(home, "a", "b", "d", ""));
  makeDirectorySync(join(home, "e", "f"));
  makeDirectorySync(join(home, "e", "f"));
  expect(statSync(join(home, "e", "f")).isDirectory()).toBe(true);
});

test.skipIf(process.platform === "win32")("each that is made has the mode", async () => {
  await makeDirectory(join(home, "g", "h"), { mode: 0o700 });
  makeDirectorySync(join(home, "i", "j"), 0o700);
  for (const name of ["g", "g/h", "i", "i/j"]) {
    expect(statSync(join(home, name)).mode & 0o777).toBe(0o700);
  }
});

test("calls at once make it once, and all succeed", async () => {
  const path = join(home, "k", "l", "m");
  const made = await Promise.all(Array.from({ length: 20 }, () => makeDirectory(path)));
  expect(made.filter(Boolean).length).toBeGreaterThan(0);
  expect(statSync(path).isDirectory()).toBe(true);
});

test("a file in its way is named", async () => {
  const file = join(home, "file");
  writeFileSync(file, "");
  for (const [path, code] of [
    [file, "EEXIST"],
    [join(file, "below"), "ENOTDIR"],
    [join(file, "below", "it"), "ENOTDIR"],
  ] as const) {
    const told = expect.objectContaining({ code, message: expect.stringContaining(file) });
    await expect(makeDirectory(path)).rejects.toEqual(told);
    expect(() => makeDirectorySync(path)).toThrow(told);
  }
});

test("a file system that says of every directory that what is above it is missing ends it", async () => {
  // As below /proc, where Node's own way goes round for ever.
  let calls = 0;
  const fileSystem: Pick<typeof fs, "mkdir" | "stat"> = {
    ...fs,
    async mkdir() {
      calls += 1;
      throw Object.assign(new Error("ENOENT: mkdir"), { code: "ENOENT" });
    },
  };
  await expect(makeDirectory(join(home, "n", "o"), { fileSystem })).rejects.toThrow("ENOENT");
  expect(calls).toBe(1);
});
