import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type DimensionRule,
  type Dimensions,
  parseAspectRatio,
  parseSize,
  pixelsOf,
  ratioOf,
  sizeProblem,
  translateDimensions,
} from "../../src/adapter/dimensions";

/** The table of the notes, row by row. */
const TABLE = {
  "1K": {
    "1:1": "1024x1024",
    "3:2": "1536x1024",
    "4:3": "1024x768",
    "5:4": "1280x1024",
    "16:9": "1536x864",
    "2:1": "2048x1024",
    "21:9": "2016x864",
  },
  "2K": {
    "1:1": "2048x2048",
    "3:2": "2048x1360",
    "4:3": "2048x1536",
    "5:4": "2560x2048",
    "16:9": "2048x1152",
    "2:1": "2688x1344",
    "21:9": "2688x1152",
  },
  "4K": {
    "16:9": "3840x2160",
    "2:1": "3840x1920",
    "21:9": "3840x1648",
    "1:1": "2880x2880",
    "3:2": "3520x2336",
    "4:3": "3312x2480",
    "5:4": "3216x2576",
  },
};

const flip = (text: string, separator: string) => text.split(separator).reverse().join(separator);

const ENTRIES = Object.entries(TABLE).flatMap(([resolution, row]) =>
  Object.entries(row).flatMap(([aspectRatio, size]) => [
    { aspectRatio, resolution, size },
    { aspectRatio: flip(aspectRatio, ":"), resolution, size: flip(size, "x") },
  ]),
);

const bySize = { by: "size", sizes: sizeProblem, auto: true } as const satisfies DimensionRule;
const byList = {
  by: "size",
  sizes: ["1024x1024", "1536x1024", "1024x1536"],
  auto: true,
} as const satisfies DimensionRule;
const byRatio = {
  by: "ratio",
  resolutions: ["1K", "2K", "4K"],
  auto: true,
} as const satisfies DimensionRule;
const byBareRatio = { by: "ratio", auto: false } as const satisfies DimensionRule;

const sent = (dimensions: Dimensions) => ({ dimensions, warnings: [], problems: [] });

test.each([
  ["1536x1024", { width: 1536, height: 1024 }],
  ["99999999999x1", { width: 99_999_999_999, height: 1 }],
])("the size %s is read", (text, size) => {
  expect(parseSize(text)).toEqual(size);
});

const BIG = "9".repeat(400);
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

const resolutions = fc.constantFrom("1K", "2K", "4K");
const ratioNumbers = fc
  .oneof(
    fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 })),
    fc.tuple(fc.integer({ min: 100, max: 9999 }), fc.integer({ min: 100, max: 9999 })),
    fc.tuple(fc.maxSafeNat(), fc.maxSafeNat()),
  )
  .filter(([a, b]) => a > 0 && b > 0);
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

test("a size outside the table has no ratio, plain as it may be", () => {
  for (const size of ["1600x1600", "1536X1024", "auto", "", "constructor", `${BIG}x1`]) {
    expect(ratioOf(size)).toBeUndefined();
  }
});

test("nothing given is nothing sent, or the fallback", () => {
  expect(translateDimensions({}, bySize)).toEqual(sent({}));
  expect(translateDimensions({}, byRatio)).toEqual(sent({}));
  expect(translateDimensions({}, { ...byList, fallback: "auto" })).toEqual(sent({ size: "auto" }));
});

test("a size within the provider's rule passes as typed", () => {
  expect(translateDimensions({ size: "1200x1200" }, { ...byList, sizes: ["1200x1200"] })).toEqual(
    sent({ size: "1200x1200" }),
  );
  expect(translateDimensions({ size: "1600x1280" }, bySize)).toEqual(sent({ size: "1600x1280" }));
});

test("the word auto passes where it is taken, as size or as ratio", () => {
  expect(translateDimensions({ size: "auto" }, bySize)).toEqual(sent({ size: "auto" }));
  expect(translateDimensions({ aspectRatio: "auto" }, byList)).toEqual(sent({ size: "auto" }));
  expect(translateDimensions({ size: "auto" }, byRatio)).toEqual(sent({ aspectRatio: "auto" }));
  expect(translateDimensions({ aspectRatio: "auto" }, byRatio)).toEqual(
    sent({ aspectRatio: "auto" }),
  );
});

test("the word auto is a problem where it is not taken", () => {
  for (const rule of [{ ...bySize, auto: false }, { ...byList, auto: false }, byBareRatio]) {
    for (const field of ["size", "aspectRatio"] as const) {
      const { dimensions, problems } = translateDimensions({ [field]: "auto" }, rule);
      expect(dimensions).toEqual({});
      expect(problems).toMatchObject([{ field, given: "auto" }]);
      expect(problems[0]?.taken).not.toContain("auto");
    }
  }
});

test("a size outside a closed list hears the list, and the fallback is sent", () => {
  const rule = { ...byList, fallback: "auto" };
  expect(translateDimensions({ size: "2048x2048" }, rule)).toEqual({
    dimensions: { size: "auto" },
    warnings: [],
    problems: [
      { field: "size", given: "2048x2048", taken: "1024x1024, 1536x1024, 1024x1536 or auto" },
    ],
  });
});

test("a size that a check refuses hears why", () => {
  expect(translateDimensions({ size: "1000x1000" }, bySize).problems).toEqual([
    {
      field: "size",
      given: "1000x1000",
      taken:
        "WIDTHxHEIGHT such as 1024x1024, 1536x1024 or auto (for 1000x1000, both edges must be multiples of 16)",
    },
  ]);
});

test("a ratio becomes the listed size that has it", () => {
  expect(translateDimensions({ aspectRatio: "2:3" }, byList)).toEqual(sent({ size: "1024x1536" }));
  expect(translateDimensions({ aspectRatio: "6:4", resolution: "1K" }, byList)).toEqual(
    sent({ size: "1536x1024" }),
  );
});

test("a ratio that no listed size has is a problem, and its resolution with it", () => {
  expect(translateDimensions({ aspectRatio: "16:9", resolution: "1K" }, byList)).toEqual({
    dimensions: {},
    warnings: [],
    problems: [
      { field: "aspectRatio", given: "16:9", taken: "1:1, 3:2, 2:3 or auto" },
      {
        field: "resolution",
        given: "1K",
        taken: "a resolution only together with aspectRatio",
      },
    ],
  });
});

test("a resolution that no listed size has is a problem, and the ratio is kept", () => {
  expect(translateDimensions({ aspectRatio: "3:2", resolution: "4K" }, byList)).toEqual({
    dimensions: { size: "1536x1024" },
    warnings: [],
    problems: [{ field: "resolution", given: "4K", taken: "1K at aspectRatio 3:2" }],
  });
  const odd = { ...byList, sizes: ["auto", "1200x800"] };
  expect(translateDimensions({ aspectRatio: "3:2", resolution: "1K" }, odd)).toEqual({
    dimensions: { size: "1200x800" },
    warnings: [],
    problems: [{ field: "resolution", given: "1K", taken: "no resolution at aspectRatio 3:2" }],
  });
  expect(translateDimensions({ aspectRatio: "1:1" }, odd).problems[0]?.taken).toBe("3:2 or auto");
});

test("a ratio becomes pixels where sizes are free, 1K unless said otherwise", () => {
  expect(translateDimensions({ aspectRatio: "16:9" }, bySize)).toEqual(sent({ size: "1536x864" }));
  expect(translateDimensions({ aspectRatio: "9:16", resolution: "4K" }, bySize)).toEqual(
    sent({ size: "2160x3840" }),
  );
});

test("a size that only comes near the ratio is sent with a warning", () => {
  expect(translateDimensions({ aspectRatio: "3:2", resolution: "2K" }, bySize)).toEqual({
    dimensions: { size: "2048x1360" },
    warnings: ["aspectRatio 3:2 at 2K is sent as size 2048x1360 (1.506:1)"],
    problems: [],
  });
  expect(translateDimensions({ aspectRatio: "2:3", resolution: "2K" }, bySize).warnings).toEqual([
    "aspectRatio 2:3 at 2K is sent as size 1360x2048 (1:1.506)",
  ]);
  expect(translateDimensions({ aspectRatio: "100:239" }, bySize).warnings).toEqual([
    expect.stringMatching(/^aspectRatio 100:239 is sent as size \d+x\d+ \(1:2\.\d{3}\)$/),
  ]);
});

test("an unknown resolution is a problem, and the ratio is kept at 1K", () => {
  expect(translateDimensions({ aspectRatio: "1:1", resolution: "8K" }, bySize)).toEqual({
    dimensions: { size: "1024x1024" },
    warnings: [],
    problems: [{ field: "resolution", given: "8K", taken: "1K, 2K or 4K at aspectRatio 1:1" }],
  });
});

test("pixels that the provider's own check refuses are not sent", () => {
  const small: DimensionRule = {
    ...bySize,
    sizes: ({ width }) => (width > 2000 ? "At most 2000 wide." : undefined),
  };
  expect(translateDimensions({ aspectRatio: "1:1", resolution: "2K" }, small)).toEqual({
    dimensions: { size: "1024x1024" },
    warnings: [],
    problems: [{ field: "resolution", given: "2K", taken: "1K at aspectRatio 1:1" }],
  });
  expect(translateDimensions({ aspectRatio: "2:1" }, small).dimensions).toEqual({});
});

test("a resolution beside the ratio auto is a problem, and auto is kept", () => {
  expect(translateDimensions({ aspectRatio: "auto", resolution: "2K" }, bySize)).toEqual({
    dimensions: { size: "auto" },
    warnings: [],
    problems: [
      { field: "resolution", given: "2K", taken: 'no resolution beside aspectRatio "auto"' },
    ],
  });
  expect(translateDimensions({ aspectRatio: "auto", resolution: "1K" }, byRatio)).toEqual(
    sent({ aspectRatio: "auto", resolution: "1K" }),
  );
});

test("a resolution alone is a problem for a provider of sizes", () => {
  for (const rule of [bySize, byList]) {
    expect(translateDimensions({ resolution: "2K" }, rule).problems).toEqual([
      {
        field: "resolution",
        given: "2K",
        taken: "a resolution only together with aspectRatio",
      },
    ]);
  }
  expect(translateDimensions({ resolution: "2K" }, byRatio)).toEqual(sent({ resolution: "2K" }));
});

test("a ratio passes as typed to a provider of ratios, its resolution if listed", () => {
  expect(translateDimensions({ aspectRatio: "42:18", resolution: "2K" }, byRatio)).toEqual(
    sent({ aspectRatio: "42:18", resolution: "2K" }),
  );
  expect(translateDimensions({ aspectRatio: "5:1" }, byBareRatio)).toEqual(
    sent({ aspectRatio: "5:1" }),
  );
  expect(translateDimensions({ aspectRatio: "3:2", resolution: "8K" }, byRatio)).toEqual({
    dimensions: { aspectRatio: "3:2" },
    warnings: [],
    problems: [{ field: "resolution", given: "8K", taken: "1K, 2K or 4K" }],
  });
  expect(translateDimensions({ aspectRatio: "3:2", resolution: "2K" }, byBareRatio)).toEqual({
    dimensions: { aspectRatio: "3:2" },
    warnings: [],
    problems: [{ field: "resolution", given: "2K", taken: "no resolution" }],
  });
});

test.each(["", "3/2", "3x2", "2.39:1", "99999999999999999999:1"])(
  "the malformed ratio %j is a problem everywhere",
  (aspectRatio) => {
    for (const rule of [bySize, byList, byRatio, byBareRatio]) {
      const { dimensions, problems } = translateDimensions({ aspectRatio }, rule);
      expect(dimensions).toEqual({});
      expect(problems).toMatchObject([{ field: "aspectRatio", given: aspectRatio }]);
      expect(problems[0]?.taken).toContain("3:2");
    }
  },
);

test.each(["", "1024×1024", "1024", "3:2", "1e400x1", "99999999999x1"])(
  "the size %j is a problem everywhere",
  (size) => {
    for (const rule of [bySize, byList, byRatio, byBareRatio]) {
      const { dimensions, problems } = translateDimensions({ size }, rule);
      expect(dimensions).toEqual({});
      expect(problems).toMatchObject([{ field: "size", given: size }]);
      expect(problems[0]?.taken).toContain("1024x1024");
    }
  },
);

test("a standard size becomes ratio and resolution", () => {
  expect(translateDimensions({ size: "1360x2048" }, byRatio)).toEqual(
    sent({ aspectRatio: "2:3", resolution: "2K" }),
  );
});

test("a size whose resolution is not listed is a problem that names sizes which are", () => {
  const rule = { ...byRatio, resolutions: ["2K"] };
  expect(translateDimensions({ size: "3840x2160" }, rule).problems).toEqual([
    {
      field: "size",
      given: "3840x2160",
      taken:
        "a size with a standard ratio, such as 2048x2048, 2048x1360, 2048x1536 or auto, or aspectRatio",
    },
  ]);
});

test("a provider without resolutions takes standard sizes of 1K, with a warning", () => {
  expect(translateDimensions({ size: "1536x1024" }, byBareRatio)).toEqual({
    dimensions: { aspectRatio: "3:2" },
    warnings: ["size 1536x1024 is sent as aspectRatio 3:2: the provider states no pixel size"],
    problems: [],
  });
  expect(translateDimensions({ size: "2048x2048" }, byBareRatio).problems).toMatchObject([
    { field: "size", given: "2048x2048" },
  ]);
});

const anyRule = fc.constantFrom<DimensionRule>(
  bySize,
  byList,
  byRatio,
  byBareRatio,
  { ...bySize, auto: false, fallback: "1024x1024" },
  { ...byList, fallback: "auto" },
  { ...byRatio, resolutions: ["1K"], auto: false },
  { ...byRatio, resolutions: [] },
);
const word = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("auto", "1K", "2K", "4K", "1e400:1", "1e400x1", "99999999999x1", "__proto__"),
  ratioNumbers.map(([a, b]) => `${a}:${b}`),
  ratioNumbers.map(([a, b]) => `${a}x${b}`),
  fc.constantFrom(...ENTRIES.flatMap(({ aspectRatio, size }) => [aspectRatio, size])),
);
const anyDimensions = fc.oneof(
  fc.record({ size: word }),
  fc.record({ aspectRatio: word, resolution: word }, { requiredKeys: [] }),
);

test("whatever is given, each word takes effect or is a problem, and what is sent keeps the rule", () => {
  fc.assert(
    fc.property(anyDimensions, anyRule, (given, rule) => {
      const { dimensions, warnings, problems } = translateDimensions(given, rule);
      expect(JSON.stringify([dimensions, warnings, problems])).not.toMatch(
        /NaN|Infinity|undefined/,
      );
      for (const { field, given: said } of problems) expect(given).toHaveProperty(field, said);
      if (rule.by === "ratio") {
        expect(dimensions).not.toHaveProperty("size");
        for (const field of ["aspectRatio", "resolution"] as const) {
          const said: Dimensions = given;
          if (said[field] === undefined) continue;
          const refused = problems.some((problem) => problem.field === field);
          expect(dimensions[field]).toBe(refused ? undefined : said[field]);
        }
        return;
      }
      expect(Object.keys(dimensions).filter((key) => key !== "size")).toEqual([]);
      const { size } = dimensions;
      if (size === undefined) {
        expect(problems).toHaveLength(Object.keys(given).length);
      } else if (size !== "auto") {
        const parsed = parseSize(size);
        expect(parsed && sizeProblem(parsed)).toBeUndefined();
        expect(parsed).toBeDefined();
      }
    }),
    { numRuns: 500 },
  );
});
