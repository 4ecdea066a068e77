import type { Output } from "../adapter/contract";
import { beginsImage, pictureIn } from "../http/image-text";
import type { HttpRequest } from "../http/messages";
import { parseJson } from "../http/parse-json";
import { mayHoldBase64, TextScanner } from "../http/text-scanner";
import { decodedFrom } from "../media/decoded-from";
import { DecodedImage, type ImageSink } from "../media/decoded-image";
import { PictureURLs, type Place } from "./picture-urls";

/** What is looked through for images. */
export interface Salvage {
  /** The response, as JSON or the events of a stream. */
  readonly response: unknown;
  readonly status: number;
  /** Those that came decoded, some of which may be in no document that can be read. */
  readonly decoded: readonly DecodedImage[];
  /** What was asked: a response may repeat it, and an image of the caller's was not paid for. */
  readonly request: HttpRequest;
  readonly createSink: () => ImageSink;
  /** How many are kept. */
  readonly mostImages: number;
}

/**
 * The images of a response of unknown shape, in order: what was paid for is kept. Where none came
 * whole, the URLs of images.
 */
export async function salvaged(salvage: Salvage): Promise<readonly Output[]> {
  const { status, decoded, request, mostImages } = salvage;
  const urls = new PictureURLs(status, request);
  const found = [...new Set([...(await imagesIn(salvage, urls)), ...decoded])];
  const kept: Output[] = [];
  for (const image of found) {
    const isKept = kept.length < mostImages && !(await isEcho(image, request));
    if (isKept) kept.push({ base64: image });
    else await image.sink.discard();
  }
  return kept.length > 0 ? kept : urls.found.slice(0, mostImages).map((url) => ({ url }));
}

/** How many images a request may hold, which its response may repeat: sixteen and a mask. */
const mostInputs = 17;

/** JSON may be a string in JSON, and that once more: gateways wrap what they got. */
const deepestText = 3;

interface Found {
  readonly value: unknown;
  readonly place: Place;
  /** Of how many strings it is a part. */
  readonly depth: number;
}

async function imagesIn(
  { response, createSink, mostImages }: Salvage,
  urls: PictureURLs,
): Promise<readonly DecodedImage[]> {
  const found: DecodedImage[] = [];
  // No recursion: a stranger says how deep it is.
  const ahead: Found[] = [{ value: response, place: urls.root, depth: 0 }];
  for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
    const { value, place, depth } = next;
    if (value instanceof DecodedImage) found.push(value);
    else if (typeof value === "string") {
      const inner = depth < deepestText ? jsonIn(value) : undefined;
      if (inner !== undefined) ahead.push({ value: inner, place, depth: depth + 1 });
      else {
        found.push(...(await imagesInText(value, createSink, mostImages + mostInputs)));
        urls.look(value, place);
      }
    } else if (typeof value === "object" && value !== null) {
      const bytes = serializedBuffer(value);
      if (bytes !== undefined) found.push(decodedFrom(bytes, createSink()));
      else {
        // One by one: a call takes some 100,000 arguments, and an array may be longer.
        for (const [name, each] of Object.entries(value).reverse()) {
          if (typeof each !== "string" && typeof each !== "object") continue;
          const inside = Array.isArray(value) ? place : urls.inside(place, name);
          ahead.push({ value: each, place: inside, depth });
        }
      }
    }
  }
  return found;
}

/** What a string holds as JSON, where it is a document in itself. */
function jsonIn(text: string): unknown {
  if (!/^[\s\ufeff]*[{["]/.test(text)) return undefined;
  try {
    return parseJson(text);
  } catch {
    // It only begins like one.
    return undefined;
  }
}

/** The images of a string: all of it, or those in a text, such as Markdown or JSON behind a sentence. */
async function imagesInText(
  text: string,
  createSink: () => ImageSink,
  mostImages: number,
): Promise<readonly DecodedImage[]> {
  const picture = pictureIn(text);
  if (picture !== undefined) {
    if (!("base64" in picture)) return [];
    return [decodedFrom(Buffer.from(picture.base64, "base64"), createSink())];
  }
  if (!mayHoldBase64(text)) return [];
  const scanner = new TextScanner(createSink, { mostImages });
  try {
    await scanner.write(Buffer.from(text));
    await scanner.end();
    return scanner.images;
  } finally {
    await scanner.discard();
  }
}

/** The bytes of a `Buffer` of Node's that went through `JSON.stringify`, where they are an image. */
function serializedBuffer(value: object): Buffer | undefined {
  if (!("type" in value && value.type === "Buffer" && "data" in value)) return undefined;
  const { data } = value;
  if (!Array.isArray(data) || !data.every((each) => Number.isInteger(each))) return undefined;
  const bytes = Buffer.from(data);
  return beginsImage(bytes) ? bytes : undefined;
}

/** Whether the request held it already: some servers show all that they were sent with their refusal. */
async function isEcho({ sink, byteLength }: DecodedImage, { body }: HttpRequest): Promise<boolean> {
  if (body === undefined || body.length < byteLength) return false;
  // An image that the disk fails to return is kept: reading it reports the error.
  const bytes = await sink.read().catch(() => undefined);
  if (bytes === undefined) return false;
  // As a file of a form, or as base64 in JSON.
  const sent = Buffer.from(body);
  return sent.includes(bytes) || sent.includes(bytes.toString("base64"));
}
