import * as z from "zod/mini";
import {
  type Adapter,
  type Call,
  checkedStatuses,
  compiled,
  createProvider,
  defineOperation,
  gptImage2Prices,
  type InputRule,
  imageField,
  isOpenAIOrigin,
  jsonValue,
  lenient,
  type OpenAIEndpoint,
  type Outcome,
  once,
  openAIUsage,
  type Part,
  type PartialOutput,
  type Phase,
  type Provider,
  type ProviderResponse,
  type ProviderSettings,
  priceOfImages,
  priceOfUsage,
  promptUpTo,
  readOpenAIError,
  sizeProblem,
  type Task,
  type TokenPrices,
  unreadable,
  withoutImage,
  withoutPaths,
} from "../provider";

// ---- options it alone takes ----

/** How an OpenAI-compatible endpoint is reached. */
export interface OpenAICompatibleSettings extends ProviderSettings {
  /** Ends with the version: `/images/generations` is appended, and cut where it stands there already. */
  readonly baseURL: string;
  /** Never taken from the environment: a stranger's URL does not get your key. */
  readonly apiKey: NonNullable<ProviderSettings["apiKey"]>;
  /** The model, always sent. Default `"gpt-image-2"`, whose sizes are checked before paying. */
  readonly model?: string;
  /** The provider's name in results, errors and events. Default `"openai-compatible"`. */
  readonly name?: string;
  /**
   * What a token costs here; without it a result has `usage` and no `cost`. Nor has it one where a
   * token came from the cache, or was text that came out, and `prices` do not say what that costs.
   */
  readonly prices?: TokenPrices;
  /**
   * Statuses that this endpoint answers to a create only when it has not begun it. Such a refusal is
   * not charged, and the create is sent again. Default none: what a 503 means cannot be known, since
   * proxies and caches answer it for a create that went through, with `Retry-After` too. Name a status
   * only if everything between here and the endpoint is known. Whole numbers from 400 to 599.
   *
   * @example `[503]`
   */
  readonly refusalStatuses?: readonly number[];
  /**
   * The endpoint is your own, such as our gateway: it may say that nothing was charged
   * (`error.charged: "no"`), and its `cost` and `warnings` are the result's. Default false: `"yes"` and
   * `"unknown"` are believed from anybody, `"no"` from nobody.
   */
  readonly trustCharged?: boolean;
}

/** How OpenAI itself is reached. */
export interface OpenAISettings extends ProviderSettings {
  /** Default `"gpt-image-2"`. */
  readonly model?: string;
  /** What a token costs; default for gpt-image-2 at OpenAI's own origin: its published prices. */
  readonly prices?: TokenPrices;
}

// What the adapter itself writes, what gpt-image-2 refuses, and a response that it cannot read.
const reserved =
  /^(model|prompt|n|size|quality|background|output_format|output_compression|moderation|user|safety_identifier|image|mask|stream|partial_images|response_format|style|input_fidelity)$/;

const options = /* @__PURE__ */ once(() =>
  z.strictObject({
    extraBody: z.optional(
      z.record(z.string().check(z.refine((key) => !reserved.test(key))), jsonValue, {
        error: ({ code }) =>
          code === "invalid_key"
            ? "a name that is neither a field of the request nor refused by gpt-image-2"
            : "an object",
      }),
    ),
  }),
);

// ---- request mapping ----

const parameters = /* @__PURE__ */ once(() =>
  compiled(
    z.strictObject({
      prompt: promptUpTo(32_000),
      size: z.string(),
      quality: z.optional(z.string()),
      background: z.optional(z.string()),
      outputFormat: z.optional(z.string()),
      outputCompression: z.optional(z.int("a whole number from 0 to 100")),
      moderation: z.optional(z.string()),
      user: z.optional(z.string()),
      safetyIdentifier: z.optional(z.string()),
      stream: z.optional(z.boolean()),
      partialImages: z.optional(z.number()),
    }),
  ),
);

const paths = ["/images/generations", "/images/edits"] as const;

type Parameters = z.output<ReturnType<typeof parameters>>;
type ImagesTask = Task<Parameters, z.output<ReturnType<typeof options>>>;

function nativeFields(model: string, { parameters, options, n }: ImagesTask) {
  const fields = {
    model,
    prompt: parameters.prompt,
    n,
    size: parameters.size,
    quality: parameters.quality,
    background: parameters.background,
    output_format: parameters.outputFormat,
    output_compression: parameters.outputCompression,
    moderation: parameters.moderation,
    user: parameters.user,
    safety_identifier: parameters.safetyIdentifier,
    stream: parameters.stream ?? (parameters.partialImages === undefined ? undefined : true),
    partial_images: parameters.partialImages,
  };
  const { extraBody } = options;
  return extraBody === undefined ? fields : { ...extraBody, ...fields };
}

function createGeneration(model: string, task: ImagesTask): Call {
  return { method: "POST", path: paths[0], body: { json: nativeFields(model, task) } };
}

function createEdit(model: string, task: ImagesTask): Call {
  const parts: Part[] = Object.entries(nativeFields(model, task)).flatMap(([name, value]) =>
    value === undefined
      ? []
      : [{ name, value: typeof value === "string" ? value : JSON.stringify(value) }],
  );
  const name = task.imageFiles.length === 1 ? "image" : "image[]";
  parts.push(...task.imageFiles.map((value) => ({ name, value })));
  if (task.mask !== undefined) parts.push({ name: "mask", value: task.mask });
  return { method: "POST", path: paths[1], body: { parts } };
}

const inputs: InputRule = {
  as: "bytes",
  maxCount: 16,
  mediaTypes: ["image/png", "image/webp", "image/jpeg"],
  maxBytes: 50 * 1024 * 1024,
  mask: true,
};

// ---- response schemas ----

const schemas = /* @__PURE__ */ once(() => {
  const text = lenient(z.string().check(z.minLength(1)));
  const usage = lenient(openAIUsage());
  return {
    picture: compiled(
      z.looseObject({
        url: lenient(imageField),
        b64_json: lenient(imageField),
        revised_prompt: text,
        partial_image_index: lenient(z.number().check(z.minimum(0))),
      }),
    ),
    images: compiled(z.looseObject({ data: z.array(z.unknown()), usage, model: text })),
    /** An event of a stream: one picture, or all that a response without a stream would hold. */
    event: z.looseObject({
      data: lenient(z.array(z.unknown())),
      usage: z.optional(z.unknown()),
      model: z.optional(z.unknown()),
    }),
  };
});

// ---- reading ----

/** What an endpoint is, as far as it says how its responses are read. */
type Endpoint = OpenAIEndpoint & { readonly prices: TokenPrices | undefined };

function read(endpoint: Endpoint, phase: Phase, response: ProviderResponse): Outcome {
  const found = z.safeParse(schemas().images, listIn(response)).data;
  const outputs = found?.data.flatMap((each) => outputOf(each) ?? []) ?? [];
  const cost = priceOfUsage(endpoint.prices, found?.usage);
  // Pictures that are there are there, whatever stands beside them.
  if (response.status < 300 && outputs.length > 0) {
    return { state: "succeeded", outputs, usage: found?.usage, cost, model: found?.model };
  }
  const error = readOpenAIError(phase, response, endpoint);
  if (error !== undefined) return error;
  if (response.events !== undefined)
    return unreadable(phase, "The stream ended without its picture");
  if (found === undefined) return unreadable(phase, "There is no list of images in it");
  if (found.data.some(namesWork)) {
    return unreadable(phase, "It names a task, and there is no image in it");
  }
  return withoutImage("There is no image in it", cost);
}

/** What holds the list of images: the response itself, what it wraps, or the events of a stream. */
function listIn({ body, events }: ProviderResponse): unknown {
  if (events === undefined) return unwrapped(body);
  const found = events.flatMap((each) => {
    const { data } = schemas().event.safeParse(unwrapped(each));
    return data === undefined ? [] : [data];
  });
  const usages = found.flatMap(({ usage }) => usage ?? []);
  return {
    data: found.flatMap((each) => each.data ?? [each]),
    // With several entries it is not documented whether they add up.
    usage: usages.length === 1 ? usages[0] : undefined,
    model: found.find(({ model }) => model !== undefined)?.model,
  };
}

/** Whether an item names a running job where an image is due: the charge is then unknown. */
function namesWork(item: unknown): boolean {
  if (typeof item !== "object") return true;
  return Object.entries(item ?? {}).some(
    ([name, value]) => value && /^(id|status|state|type|task|job)$|_id$|Id$/.test(name),
  );
}

function unwrapped(body: unknown): unknown {
  if (typeof body !== "object" || body === null || !("data" in body)) return body;
  return typeof body.data === "object" && !Array.isArray(body.data) ? body.data : body;
}

/** What stands in one field may be what the other is for. */
function outputOf(item: unknown): PartialOutput | undefined {
  const found = z.safeParse(schemas().picture, item).data ?? {};
  const { url: first, b64_json: second, partial_image_index: index } = found;
  if (first === undefined && second === undefined) return undefined;
  const base64 = second?.base64 ?? first?.base64;
  return { index, url: first?.url ?? second?.url, base64, revisedPrompt: found.revised_prompt };
}

// ---- definition ----

function createAdapter({
  name,
  model,
  endpoint,
  fallbackSize,
  keyVariable,
  trustCharged,
}: {
  name: string;
  model: string;
  endpoint: Endpoint;
  fallbackSize: string;
  keyVariable?: string;
  trustCharged?: boolean | undefined;
}): Adapter {
  const common = {
    parameters: parameters(),
    options: options(),
    maxImagesPerTask: 10,
    dimensions: {
      by: "size",
      sizes: (size: { width: number; height: number }) =>
        isGptImage2(model) ? sizeProblem(size) : undefined,
      auto: true,
      fallback: fallbackSize,
    },
    price: (given: Parameters, n: number) => priceOfImages(endpoint.prices, given, n),
  } as const;
  return {
    name,
    optionsName: "openai",
    ...(keyVariable !== undefined && { keyVariable }),
    authorize: (apiKey) => ({ authorization: `Bearer ${apiKey}` }),
    answersWith: "images",
    idempotent: false,
    trustsCharged: trustCharged === true,
    decodesImages: true,
    isPartial: (type) => type.endsWith(".partial_image"),
    partialField: "partial_image_index",
    isCompleted: (type) => /^image_\w+\.completed$/.test(type),
    readPartial: outputOf,
    operations: {
      generate: defineOperation({ ...common, create: (task) => createGeneration(model, task) }),
      edit: defineOperation({ ...common, inputs, create: (task) => createEdit(model, task) }),
    },
    read: (phase, response) => read(endpoint, phase, response),
  };
}

/** The model itself, a dated version of it, or a reseller's `vendor/gpt-image-2`. */
function isGptImage2(model: string): boolean {
  return /(^|\/)gpt-image-2(-\d{4}-\d{2}-\d{2})?$/.test(model);
}

/**
 * Any endpoint that speaks OpenAI's images API. The response is the image, so there is nothing to
 * poll and nothing to resume. `size` is always sent: `"1024x1024"` where the request says nothing.
 *
 * Source: the page "Use the gpt-image-2 model for text-to-image generation"; OpenAI's images API.
 *
 * @example
 * ```ts
 * const provider = openaiCompatible({ baseURL: "https://gateway.example.com/v1", apiKey });
 * ```
 */
export function openaiCompatible(settings: OpenAICompatibleSettings): Provider {
  const { name = "openai-compatible", model = "gpt-image-2", prices, trustCharged } = settings;
  const baseURL = withoutPaths(settings.baseURL, paths);
  const refusalStatuses = checkedStatuses(name, settings.refusalStatuses);
  const endpoint = { prices, isOpenAI: isOpenAIOrigin(baseURL), refusalStatuses };
  return createProvider(
    createAdapter({ name, model, endpoint, fallbackSize: "1024x1024", trustCharged }),
    { ...settings, baseURL },
    ["model", "name", "prices", "refusalStatuses", "trustCharged"],
  );
}

/**
 * OpenAI itself: up to ten images a request, edits with several images and a mask. The key comes
 * from `OPENAI_API_KEY` when not given. `size` is `"auto"` where the request says nothing.
 *
 * Source: OpenAI's images API.
 */
export function openai(settings: OpenAISettings = {}): Provider {
  const { model = "gpt-image-2", baseURL = "https://api.openai.com/v1" } = settings;
  const isOwn = isOpenAIOrigin(baseURL);
  const prices = settings.prices ?? (isOwn && isGptImage2(model) ? gptImage2Prices : undefined);
  const endpoint = { prices, isOpenAI: isOwn, refusalStatuses: [] };
  const keyVariable = "OPENAI_API_KEY";
  return createProvider(
    createAdapter({ name: "openai", model, endpoint, fallbackSize: "auto", keyVariable }),
    { ...settings, baseURL: withoutPaths(baseURL, paths) },
    ["model", "prices"],
  );
}
