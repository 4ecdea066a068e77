import fc from "fast-check";
import { expect, test } from "vitest";
import { parseJson } from "../src/parse-json";

test("an integer that a double cannot hold comes as the string of its digits", () => {
  const text = '{"id":1876543210987654321,"ids":[-9007199254740993, 9007199254740991],"n":[[2]]}';
  expect(parseJson(text)).toEqual({
    id: "1876543210987654321",
    ids: ["-9007199254740993", 9007199254740991],
    n: [[2]],
  });
});

test("digits in a string, of a fraction and with an exponent stay what they are", () => {
  const text = String.raw`{"a":"say \"1876543210987654321\" \\","b":0.12345678901234567890,"c":1e300,"d":9007199254740993}`;
  expect(parseJson(text)).toEqual({ ...JSON.parse(text), d: "9007199254740993" });
});

test("byte order marks before the document are no part of it", () => {
  for (const mark of ["\ufeff", "\ufeff\ufeff", "\n\ufeff "]) {
    expect(parseJson(`${mark}{"id":1}`)).toEqual({ id: 1 });
  }
  expect(() => parseJson('{"id":\ufeff1}')).toThrow(SyntaxError);
});

test("an integer of any size, anywhere in a document, is read digit by digit", () => {
  const integer = fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n });
  const leaf = fc.oneof(integer, fc.string(), fc.boolean(), fc.constant(null));
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof({ depthSize: "small" }, leaf, tie("list"), tie("object")),
    list: fc.array(tie("tree"), { maxLength: 4 }),
    object: fc.dictionary(fc.string(), tie("tree"), { maxKeys: 4, noNullPrototype: true }),
  }));
  fc.assert(
    fc.property(tree, (value) => {
      const marks: string[] = [];
      const text = JSON.stringify(value, (_, each: unknown) => {
        if (typeof each !== "bigint") return each;
        marks.push(String(each));
        return `mark of ${marks.length - 1}`;
      }).replace(/"mark of (\d+)"/g, (_, at: string) => marks[Number(at)] ?? "");
      const expected: unknown = JSON.parse(text, (_, each: unknown) => each);
      const digits = (each: unknown): unknown => {
        if (typeof each === "bigint") {
          const number = Number(each);
          return Number.isSafeInteger(number) ? number : String(each);
        }
        if (Array.isArray(each)) return each.map(digits);
        if (typeof each !== "object" || each === null) return each;
        return Object.fromEntries(Object.entries(each).map(([key, one]) => [key, digits(one)]));
      };
      expect(parseJson(text)).toEqual(digits(value));
      expect(typeof parseJson(text)).toBe(
        typeof value === "bigint" && !Number.isSafeInteger(Number(value))
          ? "string"
          : typeof expected,
      );
    }),
    { numRuns: 500 },
  );
});

test("what JSON.parse refuses is refused, whatever its numbers", () => {
  for (const text of [
    "",
    "{1876543210987654321:1}",
    "[01876543210987654321]",
    '["a"1876543210987654321]',
  ]) {
    expect(() => parseJson(text)).toThrow(SyntaxError);
  }
});

test("two megabytes of strings around a long integer are read in a moment", () => {
  const long = `${"a\\n".repeat(300_000)}${"b".repeat(1_000_000)}`;
  const value = parseJson(`["${long}",1876543210987654321]`);
  expect(value).toEqual([JSON.parse(`"${long}"`), "1876543210987654321"]);
});
