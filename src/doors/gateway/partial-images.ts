import type { ImageClient, ImageEvent } from "../../index";
import type { ParsedRequest } from "./fields";

/** A picture that is not done, as the readers of an order are shown it. */
export interface PartialImageEvent {
  readonly bytes: Uint8Array;
  /** What stands beside it. */
  readonly told: Readonly<Record<string, unknown>>;
}

/** So many bytes of them wait for a reader who is slow, and the last in any case. */
const mostWaitingBytes = 8 * 1024 * 1024;

/** The partial images on their way to one reader. */
export class PartialImageQueue {
  readonly #waiting: PartialImageEvent[] = [];
  #byteLength = 0;
  #onArrival: () => void = () => {};

  /** A partial image that is not sent yet is dropped where the room is needed: a later one shows more. */
  push(partial: PartialImageEvent): void {
    this.#waiting.push(partial);
    this.#byteLength += partial.bytes.byteLength;
    while (this.#waiting.length > 1 && this.#byteLength > mostWaitingBytes) this.shift();
    this.#onArrival();
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  shift(): PartialImageEvent | undefined {
    const partial = this.#waiting.shift();
    this.#byteLength -= partial?.bytes.byteLength ?? 0;
    return partial;
  }

  /** Calls back as soon as one is there, in the place of whatever was called before. */
  listen(callback: () => void): void {
    this.#onArrival = callback;
    if (this.#waiting.length > 0) callback();
  }
}

/** What is bought of a client: partial images are asked, and paid, only of one that streams them. */
export function boughtOf(parsed: ParsedRequest, { capabilities }: ImageClient): ParsedRequest {
  const { stream, partialImages, operation } = parsed;
  const streams = capabilities[operation]?.fields.includes("partialImages") === true;
  if (!stream || partialImages === 0 || !streams) return parsed;
  return parsed.operation === "edit"
    ? { ...parsed, request: { ...parsed.request, partialImages } }
    : { ...parsed, request: { ...parsed.request, partialImages } };
}

/** Hears the events of a call, and shows its partial images with what OpenAI says beside one. */
export function showing(
  { request }: ParsedRequest,
  show: (partial: PartialImageEvent) => void,
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
