import fc from "fast-check";

/** The table of the notes, row by row. */
export const TABLE = {
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

export const flip = (text: string, separator: string) =>
  text.split(separator).reverse().join(separator);

export const ENTRIES = Object.entries(TABLE).flatMap(([resolution, row]) =>
  Object.entries(row).flatMap(([aspectRatio, size]) => [
    { aspectRatio, resolution, size },
    { aspectRatio: flip(aspectRatio, ":"), resolution, size: flip(size, "x") },
  ]),
);

export const BIG = "9".repeat(400);

export const resolutions = fc.constantFrom("1K", "2K", "4K");
export const ratioNumbers = fc
  .oneof(
    fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 })),
    fc.tuple(fc.integer({ min: 100, max: 9999 }), fc.integer({ min: 100, max: 9999 })),
    fc.tuple(fc.maxSafeNat(), fc.maxSafeNat()),
  )
  .filter(([a, b]) => a > 0 && b > 0);
