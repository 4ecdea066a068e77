import { DecodedImage, type ImageSink } from "./decoded-image";
import { ImageInspection } from "./image-inspection";
import { pictureIn } from "./image-text";
import type { HttpRequest } from "./transport";

/** What is looked through for images. */
export interface Salvage {
  /** The answer, as JSON or the events of a stream. */
  readonly answer: unknown;
  /** Those that came decoded, some of which may be in no document that can be read. */
  readonly decoded: readonly DecodedImage[];
  /** What was asked: an answer may repeat it, and an image of the caller's was not paid for. */
  readonly request: HttpRequest;
  readonly createSink: () => ImageSink;
  /** How many are kept. */
  readonly mostImages: number;
}

/** The images of an answer whose shape nobody knows, in order: what was paid for is kept. */
export async function salvaged(salvage: Salvage): Promise<readonly DecodedImage[]> {
  const { answer, decoded, request, createSink, mostImages } = salvage;
  const found = [...new Set([...imagesIn(answer, createSink), ...decoded])];
  const kept: DecodedImage[] = [];
  for (const image of found) {
    const isKept = kept.length < mostImages && !(await isEcho(image, request));
    if (isKept) kept.push(image);
    else await image.sink.discard();
  }
  return kept;
}

function imagesIn(answer: unknown, createSink: () => ImageSink): DecodedImage[] {
  const found: DecodedImage[] = [];
  // No recursion: a stranger says how deep it is.
  const ahead: unknown[] = [answer];
  while (ahead.length > 0) {
    const value = ahead.pop();
    if (value instanceof DecodedImage) found.push(value);
    else if (typeof value === "string") {
      const picture = pictureIn(value);
      if (picture !== undefined && "base64" in picture) {
        found.push(decodedFrom(picture.base64, createSink()));
      }
    } else if (typeof value === "object" && value !== null) {
      // One by one: a call takes some 100,000 arguments, and an array may be longer.
      for (const each of Object.values(value).reverse()) ahead.push(each);
    }
  }
  return found;
}

function decodedFrom(base64: string, sink: ImageSink): DecodedImage {
  const bytes = Buffer.from(base64, "base64");
  sink.reserve(bytes.length).set(bytes);
  sink.commit(bytes.length);
  sink.end?.();
  const { isTruncated } = ImageInspection.of(bytes);
  return new DecodedImage(sink, bytes.length, bytes.subarray(0, 64), isTruncated);
}

/** Whether the request held it already: some servers show all that they were sent with their refusal. */
async function isEcho({ sink, byteLength }: DecodedImage, { body }: HttpRequest): Promise<boolean> {
  if (body === undefined || body.length < byteLength) return false;
  // An image that a disk does not give back is kept: whoever reads it hears why.
  const bytes = await sink.read().catch(() => undefined);
  if (bytes === undefined) return false;
  // As a file of a form, or as base64 in JSON.
  const sent = Buffer.from(body);
  return sent.includes(bytes) || sent.includes(bytes.toString("base64"));
}
