import { mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join, posix, win32 } from "node:path";
import { describe, expect, test } from "vitest";
import { durationText, parseDurationMs } from "../../../src/doors/cli/duration";
import { amountText, costProblem, parseAmount } from "../../../src/doors/cli/money";
import { imageInput, stateDirectory, withHome } from "../../../src/doors/cli/places";
import { pathFor, targetOf } from "../../../src/doors/cli/save";
import { tableOf } from "../../../src/doors/cli/table";
import { Tally } from "../../../src/doors/cli/tally";
import { clean, cleanUpTo, jsonOf } from "../../../src/doors/cli/text";
import { place } from "./here";

describe("a path", () => {
  test.each([
    ["~/a.png", "/home/anna", posix, "/home/anna/a.png"],
    ["~", "/home/anna", posix, "/home/anna"],
    ["~anna/a.png", "/home/anna", posix, "~anna/a.png"],
    ["a~/b", "/home/anna", posix, "a~/b"],
    // A file of that name, where a backslash is a letter.
    ["~\\a.png", "/home/anna", posix, "~\\a.png"],
    ["~\\a.png", "C:\\Users\\Anna", win32, "C:\\Users\\Anna\\a.png"],
    ["~/a.png", "C:\\Users\\Anna", win32, "C:\\Users\\Anna\\a.png"],
    ["C:\\pics\\a.png", "C:\\Users\\Anna", win32, "C:\\pics\\a.png"],
  ])("%j with the home %j is %j", (path, home, rules, expected) => {
    expect(withHome(path, home, rules)).toBe(expected);
  });

  test.each([
    ["C:\\pics\\a.png", false],
    ["c:/pics/a.png", false],
    ["\\\\server\\share\\a.png", false],
    ["http", false],
    ["https:a.png", false],
    ["ftp://example.com/a.png", false],
    ["https://example.com/a.png", true],
    ["HTTP://example.com/a.png", true],
    ["data:image/png;base64,AAAA", true],
  ])("as an input %j is a URL: %j", (text, isURL) => {
    expect(typeof imageInput(text) === "string").toBe(isURL);
  });

  test("of a file URL is that file, and one of another machine is refused", () => {
    expect(imageInput("file:///a%20b.png")).toMatchObject({ path: "/a b.png" });
    expect(() => imageInput("file://elsewhere/a.png")).toThrow("names no file");
  });

  test.each([
    ["/tmp/x", {}, "linux", "/tmp/x"],
    ["~/x", {}, "linux", join(homedir(), "x")],
    [undefined, { XDG_STATE_HOME: "/x" }, "linux", "/x/gpt-image-client"],
    // The specification: a path that is not absolute is to be ignored.
    [undefined, { XDG_STATE_HOME: "x" }, "linux", "/home/a/.local/state/gpt-image-client"],
    [undefined, { XDG_STATE_HOME: "" }, "darwin", "/home/a/.local/state/gpt-image-client"],
    [undefined, { LOCALAPPDATA: "/x" }, "linux", "/home/a/.local/state/gpt-image-client"],
  ])("of the state, for %j, %j and %s, is %s", (given, env, platform, expected) => {
    const machine = { platform, home: given === undefined ? "/home/a" : homedir(), rules: posix };
    expect(stateDirectory(given, env, machine)).toBe(expected);
  });

  test("of the state on Windows is the local app data", () => {
    const machine = { platform: "win32", home: "C:\\Users\\Anna", rules: win32 };
    const local = "C:\\Users\\Anna\\AppData\\Local";
    expect(stateDirectory(undefined, { LOCALAPPDATA: local }, machine)).toBe(
      `${local}\\gpt-image-client`,
    );
    expect(stateDirectory(undefined, {}, machine)).toBe(
      "C:\\Users\\Anna\\.local\\state\\gpt-image-client",
    );
  });

  test("of a target is a directory where one is there, or is meant", () => {
    const directory = place();
    mkdirSync(join(directory, "there"));
    expect(targetOf(join(directory, "there"), false).to).toBe("directory");
    expect(targetOf(`${join(directory, "new")}/`, false).to).toBe("directory");
    expect(targetOf(join(directory, "new"), false).to).toBe("file");
    expect(targetOf("-", false).to).toBe("stdout");
    expect(() => targetOf("-", true)).toThrow("not a terminal");
    expect(() => targetOf("", false)).toThrow("a file, a directory");
  });

  test("of one of several pictures has its number before the extension", () => {
    const target = { to: "file", path: "/out/a.b.png" } as const;
    const of = (index: number, all: number) =>
      pathFor(target, { job: "j", index, of: all }, "webp");
    expect([of(0, 1), of(1, 2)]).toEqual(["/out/a.b.png", "/out/a.b-2.png"]);
    const stem = { ...target, path: "/out/v1.5", isStem: true };
    expect(pathFor(stem, { job: "j", index: 0, of: 1 }, "webp")).toBe("/out/v1.5.webp");
  });
});

describe("a stranger's text", () => {
  const escapeCode = String.fromCharCode(27);

  test.each([
    ["colours", `${escapeCode}[31mred${escapeCode}[0m`, "red"],
    ["a title", `${escapeCode}]0;owned${String.fromCharCode(7)}after`, "after"],
    [
      "a link",
      `${escapeCode}]8;;http://x${escapeCode}\\text${escapeCode}]8;;${escapeCode}\\`,
      "text",
    ],
    ["a sequence that never ends", `${escapeCode}[`, "["],
    ["C1 controls", `a${String.fromCharCode(0x9b)}2Jb`, "a2Jb"],
    ["line ends", "a\r\nb\tc\u2028d", "a b c d"],
    ["text that runs backwards", "a\u202eb\u2066c", "abc"],
    ["emoji of several parts", "👩‍🚀 ok", "👩‍🚀 ok"],
  ])("loses %s", (_, text, expected) => {
    expect(clean(text)).toBe(expected);
  });

  test("is cut between characters", () => {
    expect(cleanUpTo(3, "👩👩👩👩")).toBe("👩👩…");
    expect(cleanUpTo(3, "abc")).toBe("abc");
  });

  test("in JSON is escaped, and read back the same", () => {
    const text = `a${String.fromCharCode(0x9b)}b\u202ec${escapeCode}`;
    const json = jsonOf({ text });
    expect(json).not.toMatch(/\p{Cc}|\u202e/u);
    expect(JSON.parse(json)).toEqual({ text });
  });
});

describe("what a user writes", () => {
  test.each([
    ["0.10 USD", { amount: 0.1, unit: "USD" }],
    ["14credits", { amount: 14, unit: "credits" }],
    ["3 usd", { amount: 3, unit: "USD" }],
    ["2 EUR", { amount: 2, unit: "EUR" }],
  ])("the amount %j", (text, expected) => {
    expect(parseAmount("--max-cost", text)).toEqual(expected);
    expect(amountText(expected)).toBe(`${expected.amount} ${expected.unit}`);
  });

  test.each(["", "10", "USD", "$1", "-1 USD", "1e3 USD", "1 US D"])("no amount: %j", (text) => {
    expect(() => parseAmount("--max-cost", text)).toThrow("--max-cost");
  });

  test("a limit that is exactly the price is kept", () => {
    const cost = { amount: 0.1, unit: "USD", basis: "list" } as const;
    expect(costProblem(cost, { amount: 0.1, unit: "USD" })).toBeUndefined();
  });

  test.each([
    ["90s", 90_000],
    ["1.5h", 5_400_000],
    ["500ms", 500],
  ])("the time %j", (text, expected) => {
    expect(parseDurationMs("--timeout", text)).toBe(expected);
  });

  test.each(["", "10", "0s", "-1s", "1d"])("no time: %j", (text) => {
    expect(() => parseDurationMs("--timeout", text)).toThrow("10m");
  });

  test.each([
    [4_400, "4 s"],
    [80_000, "1 min 20 s"],
    [120_000, "2 min"],
    [7_500_000, "2 h 5 min"],
    [260_000_000, "3 d"],
  ])("%i ms are %j", (milliseconds, expected) => {
    expect(durationText(milliseconds)).toBe(expected);
  });
});

test.each([
  [2, 2, [], 0],
  [0, 2, ["no"], 1],
  [1, 2, ["no"], 3],
  [1, 2, ["no", "yes"], 4],
  [1, 2, ["yes", "unknown", "no"], 5],
  [2, 2, ["unknown"], 5],
  // Without a reason nothing says that the others were not charged.
  [1, 2, [], 4],
  [0, 2, [], 5],
] as const)("%i of %i with charges %j are code %i", (delivered, wanted, charges, expected) => {
  const tally = new Tally();
  tally.want(wanted);
  for (let index = 0; index < delivered; index += 1) tally.deliver();
  for (const charged of charges) tally.lose(charged);
  expect(tally.exitCode).toBe(expected);
});

test("what is no error of this package may have cost anything", () => {
  const tally = new Tally();
  tally.want(1);
  tally.fail(new Error("a fault of ours"));
  expect(tally.exitCode).toBe(5);
});

test("a table is as wide as what a person sees", () => {
  expect(
    tableOf([
      ["a", "b"],
      ["👩👩", "c"],
    ]),
  ).toEqual(["a   b", "👩👩  c"]);
});
