import { sniff } from "./media";

/** How much is looked at: before the `<svg` there may be a declaration. */
const headBytes = 258;
const headLetters = (headBytes / 3) * 4;

/** Whether bytes begin as an image does: of fewer than 12 of them it is not sure. */
export function beginsImage(bytes: Uint8Array): boolean {
  return sniff(bytes) !== undefined || hasOtherSignature(bytes.subarray(0, headBytes));
}

/** Of formats that {@link sniff} may not name, and that a picture may come in all the same. */
function hasOtherSignature(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes).toString("latin1");
  return (
    // HEIC and its relatives; JPEG XL.
    head.startsWith("ftyp", 4) ||
    head.startsWith("JXL ", 4) ||
    // TIFF, of either byte order.
    head.startsWith("II*\0") ||
    head.startsWith("MM\0*") ||
    // BMP, with four bytes that are reserved.
    (head.startsWith("BM") && head.startsWith("\0\0\0\0", 6))
  );
}

/** Whether a text is the base64 of an image, as far as its beginning tells. */
export function isImageBase64(text: string): boolean {
  return beginsImage(Buffer.from(text.slice(0, headLetters), "base64"));
}

/** An absolute URL; a path; or the name of an image's file. A word such as `None` is neither. */
const address = /^([a-z][a-z\d+.-]*:\/\/|\.{0,2}\/|[\w.~%/-]+\.(png|jpe?g|webp|gif|avif)([?#]|$))/i;

/** What stands before the base64 in a data URL. */
const dataUrlHead = /^data:[^,]{0,200};base64,/i;

/**
 * The picture that a text of an answer is: as base64, without the head of a data URL, or the URL where it
 * is, which may be relative. `undefined` where it is neither: servers write `"None"` or an error's words
 * where an image is due.
 */
export function pictureIn(text: string): { base64: string } | { url: string } | undefined {
  const trimmed = text.trim();
  const [head] = dataUrlHead.exec(trimmed) ?? [];
  if (head !== undefined) {
    const base64 = trimmed.slice(head.length);
    return isImageBase64(base64) ? { base64 } : undefined;
  }
  // Before paths: the base64 of a JPEG begins with a slash.
  if (isImageBase64(trimmed)) return { base64: trimmed };
  return address.test(trimmed) ? { url: trimmed } : undefined;
}
