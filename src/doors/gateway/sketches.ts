import type { ImageClient, ImageEvent } from "../../index";
import type { Asked } from "./fields";

/** A picture that is not done, as the readers of an order are shown it. */
export interface Sketch {
  readonly bytes: Uint8Array;
  /** What stands beside it. */
  readonly told: Readonly<Record<string, unknown>>;
}

/** So many bytes of them wait for a reader who is slow, and the last in any case. */
const mostWaitingBytes = 8 * 1024 * 1024;

/** The sketches on their way to one reader. */
export class SketchQueue {
  readonly #waiting: Sketch[] = [];
  #byteLength = 0;
  #onArrival: () => void = () => {};

  /** A sketch that is not sent yet goes where the room is needed: a later one shows more. */
  push(sketch: Sketch): void {
    this.#waiting.push(sketch);
    this.#byteLength += sketch.bytes.byteLength;
    while (this.#waiting.length > 1 && this.#byteLength > mostWaitingBytes) this.shift();
    this.#onArrival();
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  shift(): Sketch | undefined {
    const sketch = this.#waiting.shift();
    this.#byteLength -= sketch?.bytes.byteLength ?? 0;
    return sketch;
  }

  /** Calls back as soon as one is there, in the place of whatever was called before. */
  listen(callback: () => void): void {
    this.#onArrival = callback;
    if (this.#waiting.length > 0) callback();
  }
}

/** What is bought of a client: partial images are asked, and paid, only of one that streams them. */
export function boughtOf(asked: Asked, { capabilities }: ImageClient): Asked {
  const { stream, partialImages, operation } = asked;
  const streams = capabilities[operation]?.fields.includes("partialImages") === true;
  if (!stream || partialImages === 0 || !streams) return asked;
  return asked.operation === "edit"
    ? { ...asked, request: { ...asked.request, partialImages } }
    : { ...asked, request: { ...asked.request, partialImages } };
}

/** Hears the events of a call, and shows its partial images with what OpenAI says beside one. */
export function showing(
  { request }: Asked,
  show: (sketch: Sketch) => void,
): (event: ImageEvent) => void {
  const { size, quality, background } = request;
  return (event) => {
    if (event.type !== "partial") return;
    const { index, bytes, mediaType, at } = event;
    const told = {
      ...{ created_at: Math.floor(at / 1000), size, quality, background },
      ...{ output_format: mediaType.replace(/^image\//, ""), partial_image_index: index },
    };
    show({ bytes, told });
  };
}
