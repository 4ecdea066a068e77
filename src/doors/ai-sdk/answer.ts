import { type GeneratedImage, type ImageError, type ImageResult, isImageError } from "../../index";
import { entryName } from "./request";
import type { GenerateResponse, ImageMetadata, JSONObject, Warning } from "./types";

/** An image with its bytes, or why they cannot be had. */
type Fetched =
  | { readonly image: GeneratedImage; readonly bytes: Uint8Array }
  | { readonly error: unknown };

/**
 * A result in the SDK's form, with the bytes of every image that can be had.
 *
 * @param asked the names of what was asked for.
 * @throws the first error where none can be had; the signal's reason if it aborts.
 */
export async function responseOf(
  result: ImageResult,
  asked: readonly string[],
  modelId: string,
  signal: AbortSignal | undefined,
): Promise<GenerateResponse> {
  const fetched = await untilAborted(Promise.all(result.images.map(fetchImage)), signal);
  const came = fetched.flatMap((each) => ("bytes" in each ? [each] : []));
  const lost = fetched.flatMap((each) => ("error" in each ? [each.error] : []));
  // Never an empty list: `ai` 7 would call again, and pay again.
  if (came.length === 0) throw firstOf(lost, result.failures);
  const failures = [...result.failures, ...lost.filter(isImageError)];
  const entries = await Promise.all(came.map(({ image }) => metadataOf(image, result)));
  const [first, ...rest] = entries;
  const once = {
    ...(result.cost !== undefined && { cost: result.cost }),
    ...(failures.length > 0 && { failures: failures.map(failureOf) }),
  };
  const { usage } = result;
  return {
    images: came.map(({ bytes }) => bytes),
    // Read late: fetching may have added to them.
    warnings: [
      ...result.warnings.map((sentence) => warningOf(sentence, asked)),
      ...failures.map(({ message }): Warning => ({ type: "other", message })),
    ],
    // Of what stands beside `images` the SDK keeps nothing.
    providerMetadata: {
      [entryName]: { images: [plain({ ...first, ...once }), ...rest.map(plain)] },
    },
    response: {
      timestamp: result.timing.submittedAt,
      modelId: result.model ?? modelId,
      headers: undefined,
    },
    ...(usage !== undefined && {
      usage: {
        inputTokens: usage.inputTokens,
        outputTokens: usage.outputTokens,
        totalTokens: usage.totalTokens,
      },
    }),
  };
}

/**
 * What is known of each image of a `generateImage`, in their order, typed.
 *
 * @example
 * ```ts
 * const result = await generateImage({ model: imageModel(client), prompt });
 * const [{ job, cost } = {}] = imageMetadata(result);
 * ```
 */
export function imageMetadata(result: {
  readonly providerMetadata: Readonly<Record<string, { readonly images?: unknown } | undefined>>;
}): readonly ImageMetadata[] {
  // Made here as what it is; the SDK passes it on as JSON of any kind.
  return (result.providerMetadata[entryName]?.images ?? []) as readonly ImageMetadata[];
}

async function fetchImage(image: GeneratedImage): Promise<Fetched> {
  try {
    return { image, bytes: await image.bytes() };
  } catch (error) {
    return { error };
  }
}

/** Rejects as soon as the signal aborts: `image.bytes()` itself takes none. */
function untilAborted<Value>(work: Promise<Value>, signal?: AbortSignal): Promise<Value> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** The first of the errors, with the others in its `failures`. */
function firstOf([first, ...rest]: readonly unknown[], more: readonly ImageError[]): unknown {
  const others = [...rest.filter(isImageError), ...more];
  if (!isImageError(first) || others.length === 0) return first;
  return Object.assign(first, { failures: [...first.failures, ...others] });
}

async function metadataOf(image: GeneratedImage, result: ImageResult): Promise<ImageMetadata> {
  const { url, file, revisedPrompt } = image;
  // Bytes of no known type were paid for all the same, and are given without a type.
  const info = await image.info().catch(() => undefined);
  return {
    job: result.job.reference,
    provider: result.provider,
    ...(result.model !== undefined && { model: result.model }),
    ...(url !== undefined && { url }),
    ...(file !== undefined && { file }),
    ...(revisedPrompt !== undefined && { revisedPrompt }),
    ...(info !== undefined && { mediaType: info.mediaType }),
    ...(info?.width !== undefined && { width: info.width }),
    ...(info?.height !== undefined && { height: info.height }),
  };
}

function failureOf(error: ImageError): JSONObject {
  const url = "url" in error && typeof error.url === "string" ? error.url : undefined;
  return plain({ ...error.toJSON(), url });
}

/** As plain JSON, which is what the SDK's users put into databases and answers. */
function plain(value: object): JSONObject {
  return JSON.parse(JSON.stringify(value));
}

/**
 * A sentence of the client's in the SDK's form: about one field where it begins with its name, as those do
 * that say what was left out or sent otherwise.
 */
function warningOf(sentence: string, asked: readonly string[]): Warning {
  const [, name = ""] = /^`?([\w.]+)`? /.exec(sentence) ?? [];
  const feature = asked.find((each) => name === each || name.startsWith(`${each}.`));
  if (feature === undefined) return { type: "other", message: sentence };
  return { type: "unsupported", feature: name, details: sentence };
}
