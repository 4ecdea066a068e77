import {
  type PixelSize,
  parseAspectRatio,
  parseSize,
  pixelsOf,
  ratioOf,
  reduced,
  resolutions,
  sameRatio,
  sizeText,
  standardSizes,
} from "./pixel-sizes";

/** What an adapter says about dimensions. */
export type DimensionRule =
  | {
      readonly by: "size";
      /** A closed list, or a check that returns what is wrong with a size. */
      readonly sizes: readonly string[] | ((size: PixelSize) => string | undefined);
      /** Whether the provider takes the word `"auto"`. */
      readonly auto: boolean;
      /** Sent when nothing the caller said can be. */
      readonly fallback?: string;
    }
  | {
      readonly by: "ratio";
      /** Absent when the provider has no word for a resolution. Ratios are open: any `W:H`. */
      readonly resolutions?: readonly string[];
      /** Whether the provider takes the word `"auto"`. */
      readonly auto: boolean;
    };

/** Dimensions in words, the caller's or a provider's. */
export type Dimensions = {
  readonly size?: string;
  readonly aspectRatio?: string;
  readonly resolution?: string;
};

/** A word of the caller's that the provider cannot be told. */
export type DimensionProblem = {
  readonly field: "size" | "aspectRatio" | "resolution";
  readonly given: string;
  /** What the provider takes instead, worded to follow "takes". */
  readonly taken: string;
};

/** What became of the caller's dimensions. */
export type Translation = {
  readonly dimensions: Dimensions;
  readonly warnings: readonly string[];
  readonly problems: readonly DimensionProblem[];
};

type SizeRule = Extract<DimensionRule, { by: "size" }>;
type RatioRule = Extract<DimensionRule, { by: "ratio" }>;

/**
 * The caller's dimensions in the provider's vocabulary: `size` alone for a provider that takes
 * sizes, `aspectRatio` and `resolution` for one that takes ratios.
 *
 * Every word given either takes effect or stands in `problems`; what takes effect only nearly has a
 * warning. Expects `size` or else `aspectRatio` and `resolution`; if both come, `size` is heard.
 */
export function translateDimensions(given: Dimensions, rule: DimensionRule): Translation {
  return rule.by === "size" ? intoSize(given, rule) : intoRatio(given, rule);
}

function intoSize(given: Dimensions, rule: SizeRule): Translation {
  const translation =
    given.size === undefined ? ratioIntoSize(given, rule) : sizeIntoSize(given.size, rule);
  return translation.dimensions.size === undefined && rule.fallback !== undefined
    ? { ...translation, dimensions: { size: rule.fallback } }
    : translation;
}

function sizeIntoSize(size: string, rule: SizeRule): Translation {
  if (size === "auto" && rule.auto) return sent({ size });
  if (typeof rule.sizes !== "function") {
    return rule.sizes.includes(size) ? sent({ size }) : refused("size", size, sizesTaken(rule));
  }
  const parsed = parseSize(size);
  if (!parsed) return refused("size", size, sizesTaken(rule));
  const wrong = rule.sizes(parsed);
  return wrong === undefined
    ? sent({ size })
    : refused("size", size, `${sizesTaken(rule)} (${clause(wrong)})`);
}

function ratioIntoSize({ aspectRatio, resolution }: Dimensions, rule: SizeRule): Translation {
  if (aspectRatio === undefined) {
    return resolution === undefined
      ? sent({})
      : refused("resolution", resolution, "a resolution only together with aspectRatio");
  }
  if (aspectRatio === "auto" && rule.auto) {
    const none = 'no resolution beside aspectRatio "auto"';
    return { ...sent({ size: "auto" }), problems: problem("resolution", resolution, none) };
  }
  const wanted = resolution === undefined ? undefined : sizeFor(aspectRatio, resolution, rule);
  const size = wanted ?? sizeFor(aspectRatio, undefined, rule);
  if (!size) {
    return {
      ...sent({}),
      problems: [
        ...problem("aspectRatio", aspectRatio, ratiosTaken(rule)),
        // Without its ratio a resolution is no size: said too, so that it does not vanish unseen.
        ...problem("resolution", resolution, "a resolution only together with aspectRatio"),
      ],
    };
  }
  const asked = wanted ? `${aspectRatio} at ${resolution}` : aspectRatio;
  return {
    dimensions: { size: sizeText(size) },
    warnings: size.exact
      ? []
      : [`aspectRatio ${asked} is sent as size ${sizeText(size)} (${ratioText(size)})`],
    problems: wanted ? [] : problem("resolution", resolution, resolutionsTaken(aspectRatio, rule)),
  };
}

/** The provider's size for a ratio: at that resolution, or at the one it has when none is named. */
function sizeFor(
  aspectRatio: string,
  resolution: string | undefined,
  { sizes }: SizeRule,
): (PixelSize & { exact: boolean }) | undefined {
  if (typeof sizes === "function") {
    const size = pixelsOf(aspectRatio, resolution ?? "1K");
    return size && sizes(size) === undefined ? size : undefined;
  }
  const ratio = parseAspectRatio(aspectRatio);
  const listed = sizes
    .map(parseSize)
    .find(
      (size) =>
        size &&
        ratio &&
        sameRatio(size, ratio) &&
        (resolution === undefined || ratioOf(sizeText(size))?.resolution === resolution),
    );
  return listed && { ...listed, exact: true };
}

function intoRatio(given: Dimensions, rule: RatioRule): Translation {
  if (given.size !== undefined) return sizeIntoRatio(given.size, rule);
  const { aspectRatio, resolution } = given;
  const ratioFits =
    aspectRatio !== undefined &&
    (aspectRatio === "auto" ? rule.auto : parseAspectRatio(aspectRatio) !== undefined);
  const resolutionFits =
    resolution !== undefined && rule.resolutions?.includes(resolution) === true;
  return {
    dimensions: {
      ...(ratioFits ? { aspectRatio } : {}),
      ...(resolutionFits ? { resolution } : {}),
    },
    warnings: [],
    problems: [
      ...(ratioFits
        ? []
        : problem("aspectRatio", aspectRatio, words(["W:H such as 3:2"], rule.auto))),
      ...(resolutionFits
        ? []
        : problem("resolution", resolution, words(rule.resolutions ?? ["no resolution"], false))),
    ],
  };
}

function sizeIntoRatio(size: string, rule: RatioRule): Translation {
  if (size === "auto" && rule.auto) return sent({ aspectRatio: "auto" });
  const found = ratioOf(size);
  // Without a word for it, the smallest resolution is what a provider can be trusted to make.
  if (!found || !(rule.resolutions ?? ["1K"]).includes(found.resolution)) {
    return refused("size", size, standardSizesTaken(rule));
  }
  if (rule.resolutions) return sent(found);
  const { aspectRatio } = found;
  const warning = `size ${size} is sent as aspectRatio ${aspectRatio}: the provider states no pixel size`;
  return { ...sent({ aspectRatio }), warnings: [warning] };
}

/** A sentence as a part of another one. */
const clause = (sentence: string): string => {
  const words = sentence.endsWith(".") ? sentence.slice(0, -1) : sentence;
  return words.startsWith("For ") ? `f${words.slice(1)}` : words;
};

const sent = (dimensions: Dimensions): Translation => ({ dimensions, warnings: [], problems: [] });

const refused = (field: DimensionProblem["field"], given: string, taken: string): Translation => ({
  dimensions: {},
  warnings: [],
  problems: problem(field, given, taken),
});

/** No problem with a field that was not given. */
const problem = (
  field: DimensionProblem["field"],
  given: string | undefined,
  taken: string,
): readonly DimensionProblem[] => (given === undefined ? [] : [{ field, given, taken }]);

const words = (list: readonly string[], auto: boolean): string => {
  const all = auto && !list.includes("auto") ? [...list, "auto"] : list;
  return [all.slice(0, -1).join(", "), all.at(-1)].filter(Boolean).join(" or ");
};

const ratioText = ({ width, height }: PixelSize): string =>
  width >= height ? `${(width / height).toFixed(3)}:1` : `1:${(height / width).toFixed(3)}`;

const sizesTaken = ({ sizes, auto }: SizeRule): string => {
  if (typeof sizes !== "function") return words(sizes, auto);
  const examples = standardSizes().filter((size) => sizes(size) === undefined);
  return words([`WIDTHxHEIGHT such as ${examples.slice(0, 2).map(sizeText).join(", ")}`], auto);
};

const ratiosTaken = ({ sizes, auto }: SizeRule): string => {
  if (typeof sizes === "function") return words(["W:H between 1:3 and 3:1, such as 3:2"], auto);
  const ratios = sizes.flatMap((text) => {
    const size = parseSize(text);
    if (!size) return [];
    const { width, height } = reduced(size);
    return [`${width}:${height}`];
  });
  return words([...new Set(ratios)], auto);
};

const resolutionsTaken = (aspectRatio: string, rule: SizeRule): string => {
  const found = resolutions.filter((each) => sizeFor(aspectRatio, each, rule));
  return found.length === 0
    ? `no resolution at aspectRatio ${aspectRatio}`
    : `${words(found, false)} at aspectRatio ${aspectRatio}`;
};

const standardSizesTaken = ({ resolutions = ["1K"], auto }: RatioRule): string => {
  const examples = standardSizes()
    .filter(({ resolution }) => resolutions.includes(resolution))
    .slice(0, 3)
    .map(sizeText);
  return `${words([`a size with a standard ratio, such as ${examples.join(", ")}`], auto)}, or aspectRatio`;
};
