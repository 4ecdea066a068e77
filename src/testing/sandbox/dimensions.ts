export interface Dimensions {
  readonly width: number;
  readonly height: number;
}

export type Resolution = "1K" | "2K" | "4K";

const square: Dimensions = { width: 1024, height: 1024 };
const longestEdge = 3840;

/** Landscape only; a portrait ratio is its mirror image. */
const pixels: Readonly<Record<Resolution, Readonly<Record<string, string>>>> = {
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

/** For a ratio that the table lacks: about as many pixels as its neighbours have. */
const pixelsInAll: Readonly<Record<Resolution, number>> = {
  "1K": 1_400_000,
  "2K": 3_400_000,
  "4K": 8_294_400,
};

/** `WIDTHxHEIGHT` in pixels; anything else, such as `auto`, is a square of 1024. */
export function dimensionsOfSize(size: string | undefined): Dimensions {
  const [width, height] = (size ?? "").split("x").map(Number);
  return width && height ? { width, height } : square;
}

function computed(ratio: number, resolution: Resolution): Dimensions {
  const toMultiple = (edge: number) => Math.max(16, Math.floor(edge / 16) * 16);
  const width = Math.min(longestEdge, Math.sqrt(pixelsInAll[resolution] * ratio));
  return { width: toMultiple(width), height: toMultiple(width / ratio) };
}

/** The pixels of a ratio such as `3:2`; `auto` is a square of 1024. */
export function dimensionsOfRatio(ratio = "1:1", resolution: Resolution = "1K"): Dimensions {
  const [across, down] = ratio.split(":").map(Number);
  if (!across || !down) return square;
  const [long, short] = across >= down ? [across, down] : [down, across];
  const listed = pixels[resolution][`${long}:${short}`];
  const landscape = listed ? dimensionsOfSize(listed) : computed(long / short, resolution);
  if (across >= down) return landscape;
  return { width: landscape.height, height: landscape.width };
}
