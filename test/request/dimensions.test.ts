import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type DimensionRule,
  type Dimensions,
  translateDimensions,
} from "../../src/adapter/dimensions";
import { parseSize, ratioOf, sizeProblem } from "../../src/adapter/pixel-sizes";
import { BIG, ENTRIES, ratioNumbers } from "./dimension-support";

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
