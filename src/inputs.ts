import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import type { EndSignal } from "./clock";
import { CallbackError, type ImageError, InvalidRequestError, UnsupportedError } from "./errors";
import { sniff } from "./media";
import type { ImageFile, InputRule } from "./provider";
import { type ImageInput, isLoadable, isLocalFile, shown } from "./request";

/** Puts bytes where a provider can fetch them, and gives the URL. */
export type Upload = (image: UploadedImage) => string | URL | Promise<string | URL>;

/** What `upload` is handed. */
export interface UploadedImage {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
  readonly fileName: string;
}

/** The input images in the form that the provider takes. */
export interface ResolvedInputs {
  readonly imageUrls: readonly string[];
  readonly imageFiles: readonly ImageFile[];
  readonly mask?: ImageFile;
}

interface InputContext {
  readonly provider: string;
  readonly rule: InputRule;
  /** The provider's own host, which may be reached by plain http. */
  readonly trustedHostname: string;
  readonly upload: Upload | undefined;
}

type Named = { readonly field: string; readonly input: ImageInput };

function named(images: readonly ImageInput[]): Named[] {
  return images.map((input, index) => ({ field: `images[${index}]`, input }));
}

/** What is wrong with the inputs, as far as that is seen without reading them. */
export function inputProblems(
  images: readonly ImageInput[],
  mask: ImageInput | undefined,
  { provider, rule, trustedHostname, upload }: InputContext,
): ImageError[] {
  const problems: ImageError[] = [];
  const unsupported = (field: string, given: string, taken: string) =>
    problems.push(new UnsupportedError({ provider, charged: "no", field, given, taken }));
  if (images.length > rule.maxCount) {
    const most = rule.maxCount === 1 ? "one image" : `at most ${rule.maxCount} images`;
    unsupported("images", `a list of ${images.length}`, most);
  }
  if (mask !== undefined && !(rule.mask && rule.as === "bytes")) {
    unsupported("mask", shown("mask", mask), "no mask; say in the prompt what is to change");
  }
  if (rule.as === "bytes") return problems;
  for (const { field, input } of named(images)) {
    const url = webUrl(input);
    if (url === undefined) {
      if (upload !== undefined) continue;
      const taken =
        "an http(s) URL; give createImageClient an `upload` function that puts bytes at one";
      unsupported(field, shown(field, input), taken);
    } else if (rule.httpsOnly && url.protocol !== "https:" && url.hostname !== trustedHostname) {
      unsupported(field, shown(field, url.href), "a public https URL");
    }
  }
  return problems;
}

/** The URL that an input is, unless it holds its bytes itself. */
function webUrl(input: ImageInput): URL | undefined {
  if (isLoadable(input)) {
    const { url } = input;
    // One without a URL that anybody could fetch has its bytes.
    return url !== undefined && /^https?:/i.test(url) && URL.canParse(url)
      ? new URL(url)
      : undefined;
  }
  if (typeof input !== "string" && !(input instanceof URL)) return undefined;
  const url = new URL(input);
  return url.protocol === "data:" ? undefined : url;
}

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
    readonly signal?: EndSignal;
    fetchBytes(url: string): Promise<Uint8Array>;
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
  const types = rule.mediaTypes;
  if (media === undefined || types?.includes(media.mediaType) === false) {
    const given = media?.mediaType ?? `${bytes.byteLength} bytes of no known image format`;
    throw invalid(provider, field, given, types?.join(", ") ?? "PNG, JPEG or WebP");
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
): Promise<{ bytes: Uint8Array; name?: string }> {
  if (input instanceof Uint8Array) return { bytes: input };
  if (input instanceof Blob) {
    const bytes = new Uint8Array(await input.arrayBuffer());
    return input instanceof File && input.name !== "" ? { bytes, name: input.name } : { bytes };
  }
  try {
    if (isLoadable(input)) return { bytes: await input.bytes() };
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
      : shown(field, isLoadable(input) ? input : String(input));
    const why = cause instanceof Error ? cause.message : String(cause);
    throw invalid(provider, field, given, `an image that can be read (${why})`, cause);
  }
}

function invalid(
  provider: string,
  field: string,
  given: string,
  taken: string,
  cause?: unknown,
): InvalidRequestError {
  return new InvalidRequestError({ provider, charged: "no", field, given, taken, cause });
}
