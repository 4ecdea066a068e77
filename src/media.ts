/** What an image's own bytes say about it. */
export interface MediaInfo {
  readonly mediaType: string;
  /** Pixels as shown: an EXIF orientation that turns the picture on its side is applied. */
  readonly width: number;
  readonly height: number;
}

type Parser = typeof import("image-size/types/png").PNG;

type Format = {
  readonly mediaType: string;
  readonly extension: string;
  /** Asked about the first 16 bytes, one character a byte. */
  readonly signature: (head: string) => boolean;
  /**
   * Loaded when an image of this format is measured. One parser each, instead of image-size's own
   * detector: that one tries every format it knows on bytes it does not recognise, some of them with
   * regular expressions over the whole input.
   */
  readonly loadParser: () => Promise<Parser>;
  /** Fewer bytes hold no dimensions, though image-size may read some into them. */
  readonly leastBytes: number;
  /**
   * Where the dimensions must have appeared. It bounds the time that crafted bytes can take:
   * linear with a large constant for JPEG, quadratic for AVIF.
   */
  readonly mostBytes: number;
};

const FORMATS: readonly Format[] = [
  {
    mediaType: "image/png",
    extension: "png",
    signature: (head) => head.startsWith("\x89PNG\r\n\x1a\n"),
    loadParser: async () => (await import("image-size/types/png")).PNG,
    leastBytes: 24,
    mostBytes: 64,
  },
  {
    mediaType: "image/jpeg",
    extension: "jpg",
    signature: (head) => head.startsWith("\xff\xd8\xff"),
    loadParser: async () => (await import("image-size/types/jpg")).JPG,
    leastBytes: 4,
    mostBytes: 1024 * 1024,
  },
  {
    mediaType: "image/webp",
    extension: "webp",
    signature: (head) => head.startsWith("RIFF") && head.startsWith("WEBP", 8),
    loadParser: async () => (await import("image-size/types/webp")).WEBP,
    leastBytes: 25,
    mostBytes: 64,
  },
  {
    mediaType: "image/gif",
    extension: "gif",
    signature: (head) => head.startsWith("GIF87a") || head.startsWith("GIF89a"),
    loadParser: async () => (await import("image-size/types/gif")).GIF,
    leastBytes: 10,
    mostBytes: 64,
  },
  {
    mediaType: "image/avif",
    extension: "avif",
    signature: (head) => head.startsWith("ftypavif", 4) || head.startsWith("ftypavis", 4),
    loadParser: async () => (await import("image-size/types/heif")).HEIF,
    leastBytes: 16,
    mostBytes: 64 * 1024,
  },
];

const formatOf = (bytes: Uint8Array): Format | undefined => {
  const head = String.fromCharCode(...bytes.subarray(0, 16));
  return FORMATS.find(({ signature }) => signature(head));
};

/**
 * The image format by its signature, from the first 16 bytes: PNG, JPEG, WebP, GIF or AVIF.
 * Undefined for anything else, and for fewer bytes than the signature takes.
 */
export function sniff(bytes: Uint8Array): { mediaType: string; extension: string } | undefined {
  const format = formatOf(bytes);
  return format && { mediaType: format.mediaType, extension: format.extension };
}

/**
 * Type and dimensions of a PNG, JPEG, WebP, GIF or AVIF image, read from its header alone.
 *
 * Undefined for anything that cannot be read. Rejects only if image-size cannot be loaded, and takes
 * bounded time on crafted bytes; the price is that dimensions behind more than a megabyte of JPEG metadata, or 64 KiB of
 * AVIF metadata, are not found.
 */
export async function mediaInfo(bytes: Uint8Array): Promise<MediaInfo | undefined> {
  const format = formatOf(bytes);
  if (!format || bytes.length < format.leastBytes) return undefined;
  // A copy, since image-size reads on in the underlying buffer, past the end of a view of it.
  const head = new Uint8Array(bytes.subarray(0, format.mostBytes));
  const parser = await format.loadParser();
  try {
    if (!parser.validate(head)) return undefined;
    const { images = [], orientation = 1, ...first } = parser.calculate(head);
    const { width, height } = [first, ...images].reduce((largest, image) =>
      image.width * image.height > largest.width * largest.height ? image : largest,
    );
    if (!(width > 0 && height > 0)) return undefined;
    const { mediaType } = format;
    return orientation >= 5 && orientation <= 8
      ? { mediaType, width: height, height: width }
      : { mediaType, width, height };
  } catch {
    return undefined;
  }
}
