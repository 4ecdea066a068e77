import type { PixelSize } from "./exif";
import type { Completeness } from "./walk";

/** So much of a file is looked at for its root: generators write comments before it. */
export const svgHeadBytes = 4 * 1024;

/** What may stand before the root of an XML document. */
const prolog = /^(?:\xef\xbb\xbf)?(?:\s+|<\?(?:[^?]|\?(?!>))*\?>|<!--(?:[^-]|-(?!->))*-->)*/;
const documentType = /^<!DOCTYPE\s+(?:[\w.-]+:)?svg\b(?:[^>["']|"[^"]*"|'[^']*'|\[[^\]]*\])*>/;
const root = /^<(?:[A-Za-z_][\w.-]*:)?svg(?=[\s/>])((?:[^>"']|"[^"]*"|'[^']*')*)(>?)/;

/** The root's attributes; `undefined` where the document has another root, or its head has not come. */
function rootOf(bytes: Uint8Array): { attributes: string; isWhole: boolean } | undefined {
  if (bytes[0] !== 0x3c && bytes[0] !== 0xef && !isSpace(bytes[0])) return undefined;
  let rest = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(
    "latin1",
    0,
    svgHeadBytes,
  );
  rest = rest.replace(prolog, "").replace(documentType, "").replace(prolog, "");
  const [found, attributes = "", end] = root.exec(rest) ?? [];
  return found === undefined ? undefined : { attributes, isWhole: end === ">" };
}

const isSpace = (byte: number | undefined) =>
  byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;

/** Whether a document is SVG, by its first element. */
export function isSvg(bytes: Uint8Array): boolean {
  return rootOf(bytes) !== undefined;
}

/** Pixels of CSS; the units that depend on a font or a window are left out. */
const unitPixels: Readonly<Record<string, number>> = {
  ...{ "": 1, px: 1, in: 96, cm: 96 / 2.54, mm: 9.6 / 2.54, q: 2.4 / 2.54, pt: 96 / 72, pc: 16 },
};

/** The edges that the root names, where both are lengths; browsers disagree about any other SVG. */
export function measureSvg(bytes: Buffer): PixelSize | undefined {
  const { attributes, isWhole } = rootOf(bytes) ?? { attributes: "", isWhole: false };
  const [width, height] = ["width", "height"].map((name) => lengthOf(attributes, name));
  return isWhole && width !== undefined && height !== undefined ? { width, height } : undefined;
}

/** A name and its value in quotes, behind a space or another value. */
const attribute = /(?<=^|[\s"'])([\w:.-]+)\s*=\s*("[^"]*"|'[^']*')/g;

function lengthOf(attributes: string, wanted: string): number | undefined {
  for (const [, name, quoted = ""] of attributes.matchAll(attribute)) {
    if (name !== wanted) continue;
    const [, number, unit = ""] =
      /^\s*\+?(\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)(px|in|cm|mm|q|pt|pc)?\s*$/i.exec(
        quoted.slice(1, -1),
      ) ?? [];
    const pixels = Math.round(Number(number) * (unitPixels[unit.toLowerCase()] ?? Number.NaN));
    return Number.isSafeInteger(pixels) && pixels > 0 ? pixels : undefined;
  }
  return undefined;
}

/** What may follow the root's end tag, by and large, is kept while its end is looked for. */
const tailBytes = 1024;

/** Looks for the end tag of the root in what came last. */
export class SvgTail {
  #tail = "";

  push(bytes: Buffer): void {
    this.#tail = (
      this.#tail + bytes.toString("latin1", Math.max(0, bytes.length - tailBytes))
    ).slice(-tailBytes);
  }

  get completeness(): Completeness {
    const isEnded = /<\/(?:[\w.-]+:)?svg\s*>/.test(this.#tail);
    const isEmpty = /^<[^<>]*\/>\s*$/.test(this.#tail.replace(prolog, ""));
    return isEnded || isEmpty ? "complete" : "truncated";
  }
}
