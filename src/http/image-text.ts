/** How much is looked at: before the `<svg` there may be a declaration and a comment. */
const headBytes = 768;
const headLetters = (headBytes / 3) * 4;

/**
 * How pictures begin, `?` for a byte that may be any. More than `sniff` names, and without its parsers:
 * every adapter carries this, whatever else is loaded on first use.
 */
const signatures = [
  ...["\x89PNG\r\n\x1a\n", "\xff\xd8\xff", "RIFF????WEBP", "GIF87a", "GIF89a"],
  // AVIF, HEIC and their relatives; JPEG XL.
  ...["????ftyp", "????JXL "],
  // TIFF, of either byte order; BMP, with four bytes that are reserved.
  ...["II*\0", "MM\0*", "BM????\0\0\0\0"],
].map((signature) => [...signature].map((each) => (each === "?" ? undefined : each.charCodeAt(0))));

/** SVG, by its root, behind what may stand before that. */
const svgStart =
  /^(\xef\xbb\xbf)?\s*(<(\?([^?]|\?(?!>))*\?|!--([^-]|-(?!->))*--|!doctype\s+svg[^<>]*)>\s*)*<(\w+:)?svg[\s/>]/i;

/** Whether bytes begin as an image does: of fewer than 12 of them it is not sure. */
export function beginsImage(bytes: Uint8Array): boolean {
  if (hasSignature(bytes)) return true;
  const { buffer, byteOffset } = bytes;
  const length = Math.min(bytes.byteLength, headBytes);
  return svgStart.test(Buffer.from(buffer, byteOffset, length).toString("latin1"));
}

function hasSignature(bytes: Uint8Array): boolean {
  return signatures.some((signature) =>
    signature.every((each, index) => each === undefined || each === bytes[index]),
  );
}

/** What is decoded here is looked at by its length, or at once. */
const scratch = Buffer.allocUnsafeSlow(64 * 1024);

/** Longer than every signature, in base64. */
const signatureLetters = 32;

/** Whether a text is the base64 of an image, as far as its beginning tells. */
export function isImageBase64(text: string): boolean {
  const length = scratch.write(text.slice(0, signatureLetters), "base64");
  return (
    hasSignature(scratch.subarray(0, length)) ||
    beginsImage(Buffer.from(text.slice(0, headLetters), "base64"))
  );
}

/** Base64 of more than a word, whose slashes may be escaped as JSON may have them. */
const base64Run = /(?:[\w+/-]|\\\/){40,}={0,2}/g;

/** A text up to the first image in it, as it may be shown. */
export function untilImage(text: string): string {
  for (const { 0: run, index } of text.matchAll(base64Run)) {
    if (isImageBase64(run.replaceAll("\\/", "/"))) return `${text.slice(0, index)}<an image>`;
  }
  return text;
}

/** Whether a text is base64 of either alphabet, in lines or in one. Decoders skip whatever is not. */
function isBase64(text: string): boolean {
  return isStrictBase64(text) || !/[^\w+/=\s-]/.test(text);
}

/**
 * The same of most texts in a seventh of the time: each letter that a decoder skips makes what it gives
 * shorter. Of a text with one letter too many for whole bytes that letter might be the one that was skipped.
 */
function isStrictBase64(text: string): boolean {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const letters = text.length - padding;
  const byteLength = Math.floor((letters * 3) / 4);
  if (letters % 4 === 1 || byteLength > scratch.length) return false;
  return scratch.write(text, "base64") === byteLength;
}

function unescapedURL(text: string): string {
  return text.replace(/%([\da-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

/** An absolute URL; a path; or the name of an image's file. A word such as `None` is neither. */
const address = /^([a-z][a-z\d+.-]*:\/\/|\.{0,2}\/|[\w.~%/-]+\.(png|jpe?g|webp|gif|avif)([?#]|$))/i;

/** What stands before the base64 in a data URL. */
const dataUrlHead = /^data:[^,]{0,200};base64,/i;

/**
 * The picture that a text of a response is: as base64, without the head of a data URL, or the URL where it
 * is, which may be relative. `undefined` where it is neither: servers write `"None"` or an error's words
 * where an image is due.
 */
export function pictureIn(text: string): { base64: string } | { url: string } | undefined {
  const trimmed = text.trim();
  const [head] = dataUrlHead.exec(trimmed) ?? [];
  if (head !== undefined) {
    // A URL may be percent-encoded, base64 may not: a decoder would read `%2B` as two of its letters.
    const base64 = unescapedURL(trimmed.slice(head.length));
    return isImageBase64(base64) && isBase64(base64) ? { base64 } : undefined;
  }
  // Before paths: the base64 of a JPEG begins with a slash.
  if (isImageBase64(trimmed) && isBase64(trimmed)) return { base64: trimmed };
  return address.test(trimmed) ? { url: trimmed } : undefined;
}
