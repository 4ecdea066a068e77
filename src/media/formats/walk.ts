/** Whether a file has its end: `"unknown"` where its format does not tell, or its structure is broken. */
export type Completeness = "complete" | "truncated" | "unknown";

/**
 * What a walk through a file asks for: its next bytes (at most {@link mostTaken}), to pass over some,
 * or the code of the next JPEG marker.
 */
export type Step =
  | { readonly take: number }
  | { readonly skip: number }
  | { readonly marker: true };

/**
 * Reads the structure of a file from its first byte on. It returns once the end of the file is behind
 * it, or cannot be found. What it is given is valid until its next step.
 */
export type Walk = Generator<Step, Exclude<Completeness, "truncated">, Buffer>;

/** The most bytes that a walk may ask for at once. */
const mostTaken = 64;

const empty = Buffer.alloc(0);

/**
 * Runs a walk over a file that comes in pieces, however it was split. It holds only the few bytes that
 * the walk asks for, so that a file of any size can be checked on its way to the disk.
 */
export class Walker {
  readonly #walk: Walk;
  readonly #taken = Buffer.allocUnsafe(mostTaken);
  #step: Step = { skip: 0 };
  /** How many bytes of the present step have not come yet. */
  #left = 0;
  /** The byte before was an 0xFF, which a marker begins with. */
  #isInMarker = false;
  #end: Completeness | undefined;

  constructor(walk: Walk) {
    this.#walk = walk;
    this.#advance(empty);
  }

  /** What the file is if nothing more comes. */
  get completeness(): Completeness {
    return this.#end ?? "truncated";
  }

  /** Takes the next bytes, which may be overwritten as soon as this has returned. */
  push(bytes: Buffer): void {
    for (let at = 0; at < bytes.length && this.#end === undefined; ) {
      const step = this.#step;
      if ("marker" in step) {
        at = this.#findMarker(bytes, at);
        continue;
      }
      const length = Math.min(this.#left, bytes.length - at);
      if ("take" in step) bytes.copy(this.#taken, step.take - this.#left, at, at + length);
      at += length;
      this.#left -= length;
      if (this.#left > 0) return;
      this.#advance("take" in step ? this.#taken.subarray(0, step.take) : empty);
    }
  }

  #advance(given: Buffer): void {
    for (let response = given; ; response = empty) {
      const { done, value } = this.#walk.next(response);
      if (done) {
        this.#end = value;
        return;
      }
      this.#step = value;
      if ("marker" in value) return;
      this.#left = "take" in value ? value.take : value.skip;
      if (this.#left > 0) return;
    }
  }

  /** Goes on to behind the next marker: not a stuffed 0xFF, not a restart, whatever fills before it. */
  #findMarker(bytes: Buffer, start: number): number {
    for (let at = start; at < bytes.length; ) {
      if (!this.#isInMarker) {
        const found = bytes.indexOf(0xff, at);
        if (found === -1) return bytes.length;
        this.#isInMarker = true;
        at = found + 1;
        continue;
      }
      const code = bytes[at] ?? 0;
      at += 1;
      if (code === 0xff) continue;
      this.#isInMarker = false;
      if (code === 0 || (code >= 0xd0 && code <= 0xd7)) continue;
      this.#taken[0] = code;
      this.#advance(this.#taken.subarray(0, 1));
      return at;
    }
    return bytes.length;
  }
}
