/** Width and height in pixels, or the two whole numbers of an aspect ratio. */
export type PixelSize = { readonly width: number; readonly height: number };

type Resolution = "1K" | "2K" | "4K";

const MAX_PIXELS = 8_294_400;
const MIN_PIXELS = 655_360;
const MAX_EDGE = 3840;
const EDGE_STEP = 16;
const MAX_RATIO = 3;

/** The landscape half of the resellers' table; the portrait half is its transpose. */
const LANDSCAPE: Readonly<Record<Resolution, Readonly<Record<string, string>>>> = {
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
    "1:1": "2880x2880",
    "3:2": "3520x2336",
    "4:3": "3312x2480",
    "5:4": "3216x2576",
    "16:9": "3840x2160",
    "2:1": "3840x1920",
    "21:9": "3840x1648",
  },
};

/**
 * What a resolution means for a ratio outside the table: the pixel count to aim for, and bounds,
 * for without them a ratio such as 239:100, whose only exact size is 3824x1600, would turn "1K" into
 * six million pixels. "1K" ends at the table's 2048x1024; "4K" begins under 3840x1280, which is all
 * that 3:1 can have.
 */
const PIXELS: Readonly<Record<Resolution, { least: number; ideal: number; most: number }>> = {
  "1K": { least: MIN_PIXELS, ideal: 1024 ** 2, most: 2048 * 1024 },
  "2K": { least: 2048 * 1024 + 1, ideal: 2048 ** 2, most: 2304 * 2048 },
  "4K": { least: 2304 * 2048 + 1, ideal: MAX_PIXELS, most: MAX_PIXELS },
};

/** The words for a resolution that this package knows. */
export const resolutions: readonly string[] = Object.keys(PIXELS);

const isResolution = (text: string): text is Resolution => Object.hasOwn(PIXELS, text);

const transpose = ({ width, height }: PixelSize): PixelSize => ({ width: height, height: width });

export const sizeText = ({ width, height }: PixelSize): string => `${width}x${height}`;

const area = ({ width, height }: PixelSize): number => width * height;

const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));

export const reduced = ({ width, height }: PixelSize): PixelSize => {
  const common = divisor(width, height);
  return { width: width / common, height: height / common };
};

const sameSize = (a: PixelSize, b: PixelSize): boolean =>
  a.width === b.width && a.height === b.height;

export const sameRatio = (a: PixelSize, b: PixelSize): boolean => sameSize(reduced(a), reduced(b));

/** Two positive safe integers, written without sign, fraction or leading zero. */
const pair = (text: string, pattern: RegExp): PixelSize | undefined => {
  const match = pattern.exec(text);
  const width = Number(match?.[1]);
  const height = Number(match?.[2]);
  return Number.isSafeInteger(width) && Number.isSafeInteger(height)
    ? { width, height }
    : undefined;
};

/** `"1536x1024"` in numbers; undefined when it is not two positive safe integers around an `x`. */
export function parseSize(text: string): PixelSize | undefined {
  return pair(text, /^([1-9]\d*)x([1-9]\d*)$/);
}

/**
 * `"3:2"` in numbers, reduced, so that `"21:9"` is 7 by 3 and equal to `"42:18"`; undefined when it
 * is not two positive safe integers around a colon. Fractions (`"2.39:1"`) and `"auto"` are not.
 */
export function parseAspectRatio(text: string): PixelSize | undefined {
  const ratio = pair(text, /^([1-9]\d*):([1-9]\d*)$/);
  return ratio && reduced(ratio);
}

/**
 * OpenAI's four rules for a custom gpt-image-2 size.
 *
 * @returns one sentence with every rule that is broken, or undefined when all are kept
 */
export function sizeProblem(size: PixelSize): string | undefined {
  const { width, height } = size;
  const edges = [width, height];
  // Each condition says what is right, so that NaN fails it.
  const broken = [
    edges.every((edge) => edge > 0 && edge % EDGE_STEP === 0) ||
      `both edges must be multiples of ${EDGE_STEP}`,
    edges.every((edge) => edge <= MAX_EDGE) || `neither edge may exceed ${MAX_EDGE} pixels`,
    (width <= MAX_RATIO * height && height <= MAX_RATIO * width) ||
      "the ratio must lie between 1:3 and 3:1",
    (area(size) >= MIN_PIXELS && area(size) <= MAX_PIXELS) ||
      "the area must lie between 655,360 and 8,294,400 pixels",
  ].filter((rule) => rule !== true);
  return broken.length === 0 ? undefined : `For ${sizeText(size)}, ${broken.join(", and ")}.`;
}

type StandardSize = PixelSize & {
  readonly aspectRatio: string;
  readonly resolution: Resolution;
};

const tableRow = (resolution: Resolution): readonly StandardSize[] =>
  Object.entries(LANDSCAPE[resolution]).flatMap(([aspectRatio, text]) => {
    const size = parseSize(text);
    return size ? [{ ...size, aspectRatio, resolution }] : [];
  });

/** The whole table, landscape half first. */
export const standardSizes = (): readonly StandardSize[] => {
  const landscape = [...tableRow("1K"), ...tableRow("2K"), ...tableRow("4K")];
  const portrait = landscape
    .filter(({ width, height }) => width !== height)
    .map((entry) => ({
      ...entry,
      ...transpose(entry),
      aspectRatio: entry.aspectRatio.split(":").reverse().join(":"),
    }));
  return [...landscape, ...portrait];
};

/** The best size for a landscape ratio outside the table. */
const nearestSize = (ratio: PixelSize, resolution: Resolution): PixelSize | undefined => {
  const wanted = ratio.width / ratio.height;
  const { least, ideal, most } = PIXELS[resolution];
  const distance = ({ width, height }: PixelSize) => Math.abs(Math.log(width / height / wanted));
  return Array.from({ length: MAX_EDGE / EDGE_STEP }, (_, step) => (step + 1) * EDGE_STEP)
    .flatMap((height) => {
      // At a given height only the widths on either side of the ratio can be nearest to it.
      const width = Math.floor((height * wanted) / EDGE_STEP) * EDGE_STEP;
      return [
        { width, height },
        { width: width + EDGE_STEP, height },
      ];
    })
    .filter((size) => !sizeProblem(size) && area(size) >= least && area(size) <= most)
    .sort(
      (a, b) => distance(a) - distance(b) || Math.abs(area(a) - ideal) - Math.abs(area(b) - ideal),
    )[0];
};

/**
 * The pixels of an aspect ratio at a resolution.
 *
 * A ratio of the resellers' table gets the table's size. Any other gets a size within OpenAI's four
 * rules and about the resolution's pixel count (1K: up to 2,097,152; 2K: up to 4,718,592; 4K: more);
 * of those, the one nearest to the ratio; of those, the one nearest to 1024², 2048² or (4K)
 * 8,294,400 pixels.
 * `exact` says whether the size has precisely that ratio: table sizes need not (3:2 at 2K is
 * 2048x1360).
 *
 * @returns undefined when the ratio is unreadable or beyond 1:3 to 3:1, or when the resolution is
 * not `"1K"`, `"2K"` or `"4K"`
 */
export function pixelsOf(
  aspectRatio: string,
  resolution: string,
): (PixelSize & { exact: boolean }) | undefined {
  const ratio = parseAspectRatio(aspectRatio);
  if (!ratio || !isResolution(resolution)) return undefined;
  // Worked out in landscape and turned, so that 9:16 is always the transpose of 16:9.
  const portrait = ratio.height > ratio.width;
  const landscape = portrait ? transpose(ratio) : ratio;
  if (landscape.width / landscape.height > MAX_RATIO) return undefined;
  const named = tableRow(resolution).find((entry) =>
    sameSize(parseAspectRatio(entry.aspectRatio) ?? entry, landscape),
  );
  const size = named ?? nearestSize(landscape, resolution);
  if (!size) return undefined;
  const { width, height } = portrait ? transpose(size) : size;
  return { width, height, exact: sameRatio(size, landscape) };
}

/**
 * The inverse for sizes of the resellers' table and their transposes: `"1024x1024"` is 1:1 at 1K.
 * Any other size, even one with a plain ratio, is undefined: no provider promises its pixels.
 */
export function ratioOf(size: string): { aspectRatio: string; resolution: Resolution } | undefined {
  const entry = standardSizes().find((candidate) => sizeText(candidate) === size);
  return entry && { aspectRatio: entry.aspectRatio, resolution: entry.resolution };
}
