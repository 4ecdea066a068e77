import fc from "fast-check";
import { expect, test } from "vitest";
import {
  parseAspectRatio,
  parseSize,
  pixelsOf,
  ratioOf,
  sizeProblem,
} from "../../src/adapter/pixel-sizes";
import { BIG, ENTRIES, ratioNumbers, resolutions } from "./dimension-support";

test.each([
  ["1536x1024", { width: 1536, height: 1024 }],
  ["99999999999x1", { width: 99_999_999_999, height: 1 }],
])("the size %s is read", (text, size) => {
  expect(parseSize(text)).toEqual(size);
});
test.each([
  "",
  "x",
  "auto",
  "1024",
  "1024x",
  "1024×1024",
  "1024X1024",
  "1024x1024x1",
  " 1024x1024",
  "1024x1024\n",
  "-16x16",
  "0x16",
  "016x16",
  "1.5x2",
  "1e3x16",
  "1e400x16",
  "9007199254740993x1",
  `${BIG}x${BIG}`,
])("%j is no size", (text) => {
  expect(parseSize(text)).toBeUndefined();
});

test("an aspect ratio is read in its lowest terms", () => {
  expect(parseAspectRatio("3:2")).toEqual({ width: 3, height: 2 });
  expect(parseAspectRatio("21:9")).toEqual({ width: 7, height: 3 });
  expect(parseAspectRatio("1920:1080")).toEqual({ width: 16, height: 9 });
});

test.each(["", ":", "auto", "3/2", "3:0", "0:1", "2.39:1", "3:2:1", "03:2", `${BIG}:1`, "1e400:1"])(
  "%j is no aspect ratio",
  (text) => {
    expect(parseAspectRatio(text)).toBeUndefined();
  },
);

test("a size that breaks every rule hears of every rule", () => {
  const problem = sizeProblem({ width: 5000, height: 10 });
  expect(problem).toContain("multiples of 16");
  expect(problem).toContain("3840");
  expect(problem).toContain("1:3");
  expect(problem).toContain("655,360");
});

test.each([
  ["1000x1000", /^For 1000x1000, both edges must be multiples of 16\.$/],
  ["3856x2048", /^For 3856x2048, neither edge may exceed 3840 pixels\.$/],
  ["2064x672", /^For 2064x672, the ratio must lie between 1:3 and 3:1\.$/],
  ["672x2064", /^For 672x2064, the ratio must lie between 1:3 and 3:1\.$/],
  ["512x512", /^For 512x512, the area must lie between 655,360 and 8,294,400 pixels\.$/],
  ["3840x2176", /^For 3840x2176, the area must lie between 655,360 and 8,294,400 pixels\.$/],
])("%s breaks one rule, which is named", (text, problem) => {
  expect(sizeProblem(parseSize(text) ?? { width: 0, height: 0 })).toMatch(problem);
});

test("sizes on the very edge of a rule keep it", () => {
  for (const text of ["3840x2160", "2880x2880", "1024x640", "1440x480", "2064x688"]) {
    const size = parseSize(text) ?? { width: 0, height: 0 };
    expect([text, size.width * size.height >= 655_360]).toEqual([text, true]);
    expect(sizeProblem(size)).toBeUndefined();
  }
});

test.each([
  { width: Number.NaN, height: 1024 },
  { width: 0, height: 0 },
  { width: -1024, height: -1024 },
  { width: Number.POSITIVE_INFINITY, height: 1024 },
  { width: 1024.5, height: 1024 },
])("%j is a problem", (size) => {
  expect(sizeProblem(size)).toBeTypeOf("string");
});

test.each(ENTRIES)("$aspectRatio at $resolution is $size, and back", (entry) => {
  const { aspectRatio, resolution, size } = entry;
  const pixels = pixelsOf(aspectRatio, resolution);
  expect(pixels && `${pixels.width}x${pixels.height}`).toBe(size);
  expect(pixels && sizeProblem(pixels)).toBeUndefined();
  expect(ratioOf(size)).toEqual({ aspectRatio, resolution });
});

test("a ratio of the table is found however it is written", () => {
  expect(pixelsOf("7:3", "1K")).toEqual(pixelsOf("21:9", "1K"));
  expect(pixelsOf("2:2", "1K")).toEqual({ width: 1024, height: 1024, exact: true });
  expect(pixelsOf("18:32", "4K")).toEqual({ width: 2160, height: 3840, exact: true });
});

test("a table size that only comes near its ratio is not called exact", () => {
  expect(pixelsOf("3:2", "2K")).toEqual({ width: 2048, height: 1360, exact: false });
  expect(pixelsOf("9:21", "4K")).toEqual({ width: 1648, height: 3840, exact: false });
});

test("a ratio outside the table gets a size of exactly that ratio where there is one", () => {
  expect(pixelsOf("7:5", "1K")).toEqual({ width: 1232, height: 880, exact: true });
  expect(pixelsOf("3:1", "1K")).toEqual({ width: 1776, height: 592, exact: true });
  expect(pixelsOf("1:3", "4K")).toEqual({ width: 1280, height: 3840, exact: true });
});

test("a ratio whose only exact size is a 4K one does not make a 1K request a 4K one", () => {
  const pixels = pixelsOf("239:100", "1K");
  expect(pixels?.exact).toBe(false);
  expect(pixels && pixels.width * pixels.height).toBeLessThanOrEqual(2048 * 1024);
  expect(pixelsOf("239:100", "4K")).toEqual({ width: 3824, height: 1600, exact: true });
});

test.each([
  ["31:10", "1K"],
  ["10:31", "4K"],
  ["99999999999:1", "1K"],
  ["1:9007199254740991", "1K"],
  ["auto", "1K"],
  ["3/2", "1K"],
  ["", "1K"],
  ["3:2", "8K"],
  ["3:2", "1k"],
  ["3:2", ""],
  ["3:2", "toString"],
])("%j at %j has no pixels", (aspectRatio, resolution) => {
  expect(pixelsOf(aspectRatio, resolution)).toBeUndefined();
});
const ratiosWithin = ratioNumbers.filter(([a, b]) => a / b <= 3 && b / a <= 3);

test("every ratio from 1:3 to 3:1 has a size within the four rules, and its transpose the transposed one", () => {
  fc.assert(
    fc.property(ratiosWithin, resolutions, ([a, b], resolution) => {
      const pixels = pixelsOf(`${a}:${b}`, resolution);
      expect(pixels).toBeDefined();
      if (!pixels) return;
      expect(sizeProblem(pixels)).toBeUndefined();
      expect(pixels.exact).toBe(
        BigInt(pixels.width) * BigInt(b) === BigInt(pixels.height) * BigInt(a),
      );
      expect(pixelsOf(`${b}:${a}`, resolution)).toEqual({
        width: pixels.height,
        height: pixels.width,
        exact: pixels.exact,
      });
    }),
  );
});

test("a higher resolution has more pixels", () => {
  fc.assert(
    fc.property(ratiosWithin, ([a, b]) => {
      const areas = ["1K", "2K", "4K"].map((resolution) => {
        const { width, height } = pixelsOf(`${a}:${b}`, resolution) ?? { width: 0, height: 0 };
        return width * height;
      });
      expect(areas).toEqual([...new Set(areas)].sort((one, other) => one - other));
      expect(areas).not.toContain(0);
    }),
  );
});

test("no size of the same resolution comes nearer to a ratio outside the table", () => {
  const standard = ENTRIES.map(({ aspectRatio }) => parseAspectRatio(aspectRatio));
  const edges = Array.from({ length: 240 }, (_, step) => (step + 1) * 16);
  const bounds = {
    "1K": [655_360, 2_097_152],
    "2K": [2_097_153, 4_718_592],
    "4K": [4_718_593, 8_294_400],
  };
  fc.assert(
    fc.property(
      ratiosWithin,
      fc.constantFrom("1K" as const, "2K" as const, "4K" as const),
      ([a, b], resolution) => {
        const ratio = parseAspectRatio(`${a}:${b}`);
        fc.pre(
          !standard.some((one) => one?.width === ratio?.width && one?.height === ratio?.height),
        );
        const [least = 0, most = 0] = bounds[resolution];
        const distance = (width: number, height: number) =>
          Math.abs(Math.log((width / height) * (b / a)));
        const nearest = Math.min(
          ...edges.flatMap((width) =>
            edges
              .filter((height) => width * height >= least && width * height <= most)
              .filter((height) => !sizeProblem({ width, height }))
              .map((height) => distance(width, height)),
          ),
        );
        const pixels = pixelsOf(`${a}:${b}`, resolution);
        expect(pixels && distance(pixels.width, pixels.height)).toBeCloseTo(nearest, 10);
      },
    ),
    { numRuns: 20 },
  );
});
