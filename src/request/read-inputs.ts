import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import type { ImageFile } from "../adapter/contract";
import type { AbortSignalLike } from "../async/clock";
import { CallbackError, InvalidRequestError, reasonOf } from "../errors";
import { rasterMedia, sniff } from "../media/format";
import { shown } from "../parse/shown";
import { asUint8Array, type ImageBytes, isBlob, isBytes, isUint8Array, isURL } from "../realm";
import { type InputContext, type Named, named, type ResolvedInputs, webUrl } from "./inputs";
import { type ImageInput, isLoadable, isLocalFile } from "./request";

/**
 * Reads, fetches or uploads the inputs.
 *
 * @throws {@link InvalidRequestError} naming the input that is no image, too large, or not to be had.
 * @throws {@link CallbackError} if `upload` throws.
 */
export async function resolveInputs(
  images: readonly ImageInput[],
  mask: ImageInput | undefined,
  context: InputContext & {
    readonly signal?: AbortSignalLike;
    fetchBytes(url: string): Promise<ImageBytes>;
  },
): Promise<ResolvedInputs> {
  const { rule } = context;
  const all = named(images);
  if (rule.as === "url") {
    const imageUrls = await Promise.all(all.map((each) => asUrl(each, context)));
    return { imageUrls, imageFiles: [] };
  }
  const [imageFiles, maskFile] = await Promise.all([
    Promise.all(all.map((each) => asFile(each, context))),
    mask === undefined ? undefined : asFile({ field: "mask", input: mask }, context),
  ]);
  if (maskFile !== undefined && maskFile.mediaType !== "image/png") {
    throw invalid(context.provider, "mask", maskFile.mediaType, "a PNG with transparent parts");
  }
  return { imageUrls: [], imageFiles, ...(maskFile !== undefined && { mask: maskFile }) };
}

type ReadContext = Parameters<typeof resolveInputs>[2];

async function asUrl(each: Named, context: ReadContext): Promise<string> {
  const url = webUrl(each.input);
  if (url !== undefined) return url.href;
  const file = await asFile(each, context);
  const { upload, provider, rule } = context;
  // The caller may have left while the image was read.
  context.signal?.throwIfAborted();
  let uploaded: string | URL | undefined;
  try {
    uploaded = await upload?.(file);
  } catch (cause) {
    throw new CallbackError({ provider, charged: "no", callback: "upload", cause });
  }
  const href = String(uploaded);
  const isTaken = rule.httpsOnly ? /^https:\/\//i : /^https?:\/\//i;
  if (!isTaken.test(href) || !URL.canParse(href)) {
    const taken = rule.httpsOnly ? "a public https URL" : "an http(s) URL";
    throw invalid(provider, each.field, `${shown("url", uploaded)} from \`upload\``, taken);
  }
  return href;
}

async function asFile({ field, input }: Named, context: ReadContext): Promise<ImageFile> {
  const { provider, rule } = context;
  const { bytes, name } = await read(field, input, context);
  const media = sniff(bytes);
  const types = rule.mediaTypes ?? rasterMedia.map(({ mediaType }) => mediaType);
  if (media === undefined || !types.includes(media.mediaType)) {
    const given = media?.mediaType ?? `${bytes.byteLength} bytes of no known image format`;
    throw invalid(provider, field, given, rule.mediaTypes?.join(", ") ?? "PNG, JPEG or WebP");
  }
  if (rule.maxBytes !== undefined && bytes.byteLength > rule.maxBytes) {
    throw invalid(provider, field, `${bytes.byteLength} bytes`, `at most ${rule.maxBytes} bytes`);
  }
  const fileName = name ?? `${field.replace(/\W+/g, "-").replace(/-$/, "")}.${media.extension}`;
  return { bytes, mediaType: media.mediaType, fileName };
}

async function read(
  field: string,
  input: ImageInput,
  { provider, fetchBytes }: ReadContext,
): Promise<{ bytes: ImageBytes; name?: string }> {
  if (isBytes(input)) return { bytes: asUint8Array(input) };
  try {
    if (isBlob(input)) {
      // That of a file which has changed since (`fs.openAsBlob`) can no longer be read.
      const bytes = new Uint8Array(await input.arrayBuffer());
      return "name" in input && typeof input.name === "string" && input.name !== ""
        ? { bytes, name: input.name }
        : { bytes };
    }
    if (isLoadable(input)) return { bytes: bytesFrom(await input.bytes()) };
    if (isLocalFile(input)) {
      return { bytes: await readFile(input.path), name: basename(input.path) };
    }
    const url = new URL(input);
    if (url.protocol !== "data:") return { bytes: await fetchBytes(url.href) };
    const response = await fetch(url);
    return { bytes: new Uint8Array(await response.arrayBuffer()) };
  } catch (cause) {
    const given = isLocalFile(input)
      ? `localFile("${input.path}")`
      : shown(field, isURL(input) ? input.href : input);
    throw invalid(provider, field, given, "an image that can be read", cause);
  }
}

/** The bytes of an image made by another copy of this package. */
function bytesFrom(given: unknown): ImageBytes {
  if (isUint8Array(given)) return asUint8Array(given);
  throw new TypeError("its `bytes()` gives no Uint8Array");
}

function invalid(
  provider: string,
  field: string,
  given: string,
  taken: string,
  cause?: unknown,
): InvalidRequestError {
  const detail = cause === undefined ? undefined : reasonOf(cause);
  return new InvalidRequestError({ provider, charged: "no", field, given, taken, detail, cause });
}
