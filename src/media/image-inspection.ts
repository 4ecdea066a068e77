import { isSignatureStart, looksLikeText, type Media, sniff } from "./format";
import { walkAvif } from "./formats/avif";
import { walkGif } from "./formats/gif";
import { walkJpeg } from "./formats/jpeg";
import { endsAsPng, walkPng } from "./formats/png";
import { SvgTail, svgHeadBytes } from "./formats/svg";
import { type Completeness, type Walk, Walker } from "./formats/walk";
import { walkWebp } from "./formats/webp";

const walks: Readonly<Record<string, () => Walk>> = {
  "image/png": walkPng,
  "image/jpeg": walkJpeg,
  "image/webp": walkWebp,
  "image/gif": walkGif,
  "image/avif": walkAvif,
};

const empty = Buffer.alloc(0);

/** Nothing is said of a file before so much of it has come, unless it is all there is. */
const headBytes = 64;

/**
 * Looks at a file as it comes: what it is, and whether all of it came. However it is split, the answers
 * are the same. It keeps the first bytes alone.
 */
export class ImageInspection {
  #head: Buffer = empty;
  #isDecided = false;
  #media: Media | undefined;
  #check: { push(bytes: Buffer): void; readonly completeness: Completeness } | undefined;

  /** Looks at all of a file. */
  static of(bytes: Uint8Array): ImageInspection {
    const inspection = new ImageInspection();
    const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    inspection.#decide(whole.subarray(0, svgHeadBytes));
    inspection.#check?.push(whole.subarray(svgHeadBytes));
    return inspection;
  }

  /** Whether a file that is here as a whole lacks its end. */
  static isTruncated(bytes: Uint8Array): boolean {
    const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return !endsAsPng(whole) && ImageInspection.of(bytes).isTruncated;
  }

  /** Takes the next bytes, which may be overwritten once this has returned. */
  push(bytes: Uint8Array): void {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (this.#isDecided) {
      this.#check?.push(chunk);
      return;
    }
    const taken = chunk.subarray(0, svgHeadBytes - this.#head.length);
    this.#head = Buffer.concat([this.#head, taken]);
    const isEnough = this.#head.length >= (mayBeSvg(this.#head) ? svgHeadBytes : headBytes);
    if (isEnough || (this.#head.length >= headBytes && sniff(this.#head) !== undefined)) {
      this.#decide(this.#head);
      this.#check?.push(chunk.subarray(taken.length));
    }
  }

  /** Nothing follows. */
  end(): void {
    if (!this.#isDecided) this.#decide(this.#head);
  }

  #decide(head: Buffer): void {
    this.#head = head;
    this.#isDecided = true;
    this.#media = sniff(head);
    if (this.#media === undefined) return;
    const walk = walks[this.#media.mediaType];
    if (walk !== undefined) this.#check = new Walker(walk());
    else if (this.#media.extension === "svg") this.#check = new SvgTail();
    this.#check?.push(head);
  }

  /** What it is; `undefined` where that is not known, or not yet. */
  get media(): Media | undefined {
    return this.#media;
  }

  get isEmpty(): boolean {
    return this.#head.length === 0;
  }

  /** Whether it has turned out to be words in place of a picture. */
  get isText(): boolean {
    return this.#isDecided && this.#media === undefined && looksLikeText(this.#head);
  }

  /** Whether the file lacks its end, if nothing more comes. */
  get isTruncated(): boolean {
    return this.#check?.completeness === "truncated" || isSignatureStart(this.#head);
  }
}

/** The root of XML may come late, behind blanks and comments. */
function mayBeSvg(head: Buffer): boolean {
  return /^(\xef\xbb\xbf)?\s*(<|$)/.test(head.toString("latin1"));
}
