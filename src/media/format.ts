import { isSvg } from "./formats/svg";

/** A file format, and how its files are named. */
export interface Media {
  readonly mediaType: string;
  readonly extension: string;
}

const png: Media = { mediaType: "image/png", extension: "png" };
const jpeg: Media = { mediaType: "image/jpeg", extension: "jpg" };
const webp: Media = { mediaType: "image/webp", extension: "webp" };
const gif: Media = { mediaType: "image/gif", extension: "gif" };
const avif: Media = { mediaType: "image/avif", extension: "avif" };
const heic: Media = { mediaType: "image/heic", extension: "heic" };
const heif: Media = { mediaType: "image/heif", extension: "heif" };
const svg: Media = { mediaType: "image/svg+xml", extension: "svg" };

/** Every format that {@link sniff} knows, the likeliest first. */
export const knownMedia: readonly Media[] = [png, jpeg, webp, gif, avif, svg, heic, heif];

/** Those that a model can look at. */
export const rasterMedia: readonly Media[] = [png, jpeg, webp, gif, avif];

/**
 * The image format by its first bytes: sixteen of them, or for an SVG as many as there are before its
 * root, up to {@link svgHeadBytes}. Undefined for anything else, and for fewer bytes than it takes.
 */
export function sniff(bytes: Uint8Array): Media | undefined {
  const { buffer, byteOffset } = bytes;
  const head = Buffer.from(buffer, byteOffset, Math.min(16, bytes.length)).toString("latin1");
  if (head.startsWith("\x89PNG\r\n\x1a\n")) return png;
  if (head.startsWith("\xff\xd8\xff")) return jpeg;
  if (head.startsWith("RIFF") && head.startsWith("WEBP", 8)) return webp;
  if (head.startsWith("GIF87a") || head.startsWith("GIF89a")) return gif;
  if (head.startsWith("ftyp", 4)) return isoMedia(bytes);
  return isSvg(bytes) ? svg : undefined;
}

/** How much of a list of brands is read. */
const brandBytes = 256;

/** Of the family of AVIF and HEIC, which their brands tell apart, wherever in the list they stand. */
function isoMedia(bytes: Uint8Array): Media | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = Math.min(view.getUint32(0), bytes.length, brandBytes);
  const brands: string[] = [];
  for (let at = 8; at + 4 <= end; at += 4) {
    // Behind the major brand is its version.
    if (at !== 12) brands.push(String.fromCharCode(...bytes.subarray(at, at + 4)));
  }
  if (brands.some((brand) => brand === "avif" || brand === "avis")) return avif;
  if (brands.some((brand) => /^he[iv][cxms]$/.test(brand))) return heic;
  const [major = ""] = brands;
  return /^(mif[12]|msf1|miaf)$/.test(major) ? heif : undefined;
}

/** How each format begins, `?` for a byte that may be any. */
const signatures = [
  ...["\x89PNG\r\n\x1a\n", "\xff\xd8\xff", "GIF87a", "GIF89a"],
  // A byte order mark begins an SVG.
  ...["RIFF????WEBP", "\0\0??ftyp????", "\xef\xbb\xbf<"],
];

const longestSignature = Math.max(...signatures.map(({ length }) => length));

/** Whether a file of so few bytes may be the beginning of an image, and ends before its signature does. */
export function isSignatureStart(bytes: Uint8Array): boolean {
  if (bytes.length === 0 || bytes.length >= longestSignature) return false;
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  return signatures.some(
    (signature) =>
      head.length < signature.length &&
      [...head].every((each, index) => signature[index] === "?" || signature[index] === each),
  );
}

/** An error page or a sentence in place of the picture. */
export function looksLikeText(bytes: Uint8Array): boolean {
  const head = String.fromCharCode(...bytes.subarray(0, 64));
  return /^(\xef\xbb\xbf)?\s*[<{[]/.test(head) || /^[\t\n\r\x20-\x7e]+$/.test(head);
}
