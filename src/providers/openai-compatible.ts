import * as z from "zod/mini";
import {
  type Adapter,
  type Answer,
  type Call,
  type Cost,
  compiled,
  createProvider,
  defineOperation,
  type InputRule,
  imageField,
  jsonValue,
  lenient,
  type Outcome,
  type Output,
  type Part,
  type Phase,
  type Provider,
  type ProviderSettings,
  promptUpTo,
  type RefusalKind,
  readStatus,
  sizeProblem,
  type Task,
  textOrNumber,
  type Usage,
  unreadable,
  withoutImage,
} from "../provider";

// ---- options it alone takes ----

/** US dollars a million tokens. */
export interface TokenPrices {
  /** Text that goes in. */
  readonly textInput: number;
  /** Images that go in. */
  readonly imageInput: number;
  /** Images that come out. */
  readonly imageOutput: number;
}

/** How an OpenAI-compatible endpoint is reached. */
export interface OpenAICompatibleSettings extends ProviderSettings {
  /** Ends with the version: `/images/generations` is appended. */
  readonly baseURL: string;
  /** Never taken from the environment: a stranger's URL does not get your key. */
  readonly apiKey: NonNullable<ProviderSettings["apiKey"]>;
  /** The model, always sent. Default `"gpt-image-2"`, whose sizes are checked before paying. */
  readonly model?: string;
  /** The provider's name in results, errors and events. Default `"openai-compatible"`. */
  readonly name?: string;
  /** What a token costs here; without it a result has `usage` and no `cost`. */
  readonly prices?: TokenPrices;
}

/** How OpenAI itself is reached. */
export interface OpenAISettings extends ProviderSettings {
  /** Default `"gpt-image-2"`. */
  readonly model?: string;
  /** What a token costs; default for gpt-image-2 at OpenAI's own origin: its published prices. */
  readonly prices?: TokenPrices;
}

// What the adapter itself writes, what gpt-image-2 refuses, and an answer that it cannot read.
const reserved =
  /^(model|prompt|n|size|quality|background|output_format|output_compression|moderation|user|image|mask|stream|response_format|style|input_fidelity)$/;

const options = z.strictObject({
  extraBody: z.optional(
    z.record(
      z.string().check(z.refine((key) => !reserved.test(key))),
      jsonValue,
      "an object whose keys are neither portable fields nor refused by gpt-image-2",
    ),
  ),
});

// ---- request mapping ----

const parameters = compiled(
  z.strictObject({
    prompt: promptUpTo(32_000),
    size: z.string(),
    quality: z.optional(z.string()),
    background: z.optional(z.string()),
    outputFormat: z.optional(z.string()),
    outputCompression: z.optional(z.int("a whole number from 0 to 100")),
    moderation: z.optional(z.string()),
    user: z.optional(z.string()),
  }),
);

type ImagesTask = Task<z.output<typeof parameters>, z.output<typeof options>>;

function nativeFields(model: string, { parameters, options, n }: ImagesTask) {
  return {
    ...options.extraBody,
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
  };
}

function createGeneration(model: string, task: ImagesTask): Call {
  const json = nativeFields(model, task);
  return { method: "POST", path: "/images/generations", body: { json } };
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
  return { method: "POST", path: "/images/edits", body: { parts } };
}

const inputs: InputRule = {
  as: "bytes",
  maxCount: 16,
  mediaTypes: ["image/png", "image/webp", "image/jpeg"],
  maxBytes: 50 * 1024 * 1024,
  mask: true,
};

// ---- prices ----

const openaiOrigin = "https://api.openai.com";
const openaiPrices: TokenPrices = { textInput: 5, imageInput: 8, imageOutput: 30 };

/** What quality is worth: patches along the long edge. */
const patches: Readonly<Record<string, number>> = { low: 16, medium: 48, high: 96 };

/** The tokens of one image by OpenAI's formula; unknown where the model chooses quality or size. */
function outputTokens(quality: string | undefined, size: string): number | undefined {
  const long = patches[quality ?? "auto"];
  const [width = 0, height = 0] = size.split("x").map(Number);
  if (long === undefined || !(width > 0 && height > 0)) return undefined;
  const short = Math.round((long * Math.min(width, height)) / Math.max(width, height));
  return Math.ceil((long * short * (2_000_000 + width * height)) / 4_000_000);
}

/** The price of the images alone: what the prompt's tokens add is known only afterwards. */
function listPrice(
  prices: TokenPrices | undefined,
  { quality, size }: z.output<typeof parameters>,
  n: number,
): Cost | undefined {
  const tokens = outputTokens(quality, size);
  if (prices === undefined || tokens === undefined) return undefined;
  return dollars(tokens * n * prices.imageOutput, "list");
}

function usagePrice(prices: TokenPrices | undefined, usage: Usage | undefined): Cost | undefined {
  const { inputTextTokens, inputImageTokens, outputTokens } = usage ?? {};
  if (prices === undefined || outputTokens === undefined) return undefined;
  // Text and images have different prices: without the split there is no honest sum.
  if (inputTextTokens === undefined) return undefined;
  const { textInput, imageInput, imageOutput } = prices;
  const images = (inputImageTokens ?? 0) * imageInput;
  return dollars(inputTextTokens * textInput + images + outputTokens * imageOutput, "usage");
}

function dollars(millionths: number, basis: Cost["basis"]): Cost {
  return { amount: Number((millionths / 1_000_000).toPrecision(12)), unit: "USD", basis };
}

// ---- what its codes mean ----

/** Codes of an error, each with what it is about; a 429 is two things, and its code tells which. */
const codes: Readonly<Record<string, RefusalKind>> = {
  moderation_blocked: "moderation",
  content_policy_violation: "moderation",
  insufficient_quota: "insufficient_credits",
  billing_hard_limit_reached: "insufficient_credits",
  billing_not_active: "insufficient_credits",
  invalid_api_key: "authentication",
};

function meaningOf(code: string | undefined): RefusalKind | undefined {
  if (code === undefined) return undefined;
  if (code.endsWith("_spend_limit_exceeded")) return "insufficient_credits";
  return Object.hasOwn(codes, code) ? codes[code] : undefined;
}

// ---- response schemas ----

const count = lenient(z.number().check(z.minimum(0)));
const text = lenient(z.string().check(z.minLength(1)));

const picture = compiled(
  z.looseObject({
    url: lenient(imageField),
    b64_json: lenient(imageField),
    revised_prompt: text,
  }),
);

const usage = z.pipe(
  compiled(
    z.looseObject({
      input_tokens: count,
      output_tokens: count,
      total_tokens: count,
      input_tokens_details: lenient(
        compiled(z.looseObject({ text_tokens: count, image_tokens: count })),
      ),
    }),
  ),
  z.transform(({ input_tokens, output_tokens, total_tokens, input_tokens_details: details }) => {
    const found: { -readonly [Name in keyof Usage]: Usage[Name] } = {};
    if (input_tokens !== undefined) found.inputTokens = input_tokens;
    if (output_tokens !== undefined) found.outputTokens = output_tokens;
    if (total_tokens !== undefined) found.totalTokens = total_tokens;
    if (details?.text_tokens !== undefined) found.inputTextTokens = details.text_tokens;
    if (details?.image_tokens !== undefined) found.inputImageTokens = details.image_tokens;
    return found;
  }),
);

const images = compiled(
  z.looseObject({
    data: z.array(z.unknown()),
    usage: lenient(usage),
    model: text,
  }),
);

/** An event of a stream: one picture, or all that an answer without a stream would hold. */
const event = z.looseObject({
  data: lenient(z.array(z.unknown())),
  usage: z.optional(z.unknown()),
  model: z.optional(z.unknown()),
});

const wrapper = z.looseObject({
  success: lenient(z.boolean()),
  code: lenient(textOrNumber),
  message: text,
  detail: text,
  error: lenient(
    z.union([
      z.string().check(z.minLength(1)),
      z.looseObject({
        message: text,
        type: text,
        code: lenient(textOrNumber),
        moderation_details: lenient(
          z.looseObject({ moderation_stage: text, categories: lenient(z.array(z.string())) }),
        ),
      }),
    ]),
  ),
});

// ---- reading ----

function read(prices: TokenPrices | undefined, phase: Phase, answer: Answer): Outcome {
  const found = z.safeParse(images, listIn(answer)).data;
  const outputs = found?.data.flatMap((each) => outputOf(each) ?? []) ?? [];
  const cost = usagePrice(prices, found?.usage);
  // Pictures that are there are there, whatever stands beside them.
  if (answer.status < 300 && outputs.length > 0) {
    return { state: "succeeded", outputs, usage: found?.usage, cost, model: found?.model };
  }
  const body = wrapper.safeParse(answer.body);
  if (!body.success) {
    return answer.status < 300
      ? unreadable(phase, "It is not the JSON that the page describes")
      : readStatus(phase, answer, undefined);
  }
  const inBody = Number(body.data.code ?? 200);
  const refused = saysError(body.data.error) || body.data.success === false || inBody >= 300;
  if (answer.status >= 300 || refused) return readError(phase, answer, body.data);
  if (found === undefined) return unreadable(phase, "There is no list of images in it");
  if (found.data.some(namesWork)) {
    return unreadable(phase, "It names a task, and there is no image in it");
  }
  return withoutImage("There is no image in it", cost);
}

/** What holds the list of images: the answer itself, what it wraps, or the events of a stream. */
function listIn({ body, events }: Answer): unknown {
  if (events === undefined) return unwrapped(body);
  const found = events.flatMap((each) => {
    const { data } = event.safeParse(unwrapped(each));
    return data === undefined ? [] : [data];
  });
  const usages = found.flatMap(({ usage }) => usage ?? []);
  return {
    data: found.flatMap((each) => each.data ?? [each]),
    // Of several nobody says whether they add up.
    usage: usages.length === 1 ? usages[0] : undefined,
    model: found.find(({ model }) => model !== undefined)?.model,
  };
}

/** Whether an item names work that may go on, where a picture is due: then nobody knows what was paid. */
function namesWork(item: unknown): boolean {
  if (typeof item !== "object") return true;
  return Object.entries(item ?? {}).some(
    ([name, value]) => /^(id|status|state|type|task|job)$|_id$|Id$/.test(name) && Boolean(value),
  );
}

function unwrapped(body: unknown): unknown {
  if (typeof body !== "object" || body === null || !("data" in body)) return body;
  return typeof body.data === "object" && !Array.isArray(body.data) ? body.data : body;
}

/** Some write an empty error beside the images. */
function saysError(error: z.output<typeof wrapper>["error"]): boolean {
  if (typeof error !== "object") return error !== undefined;
  return Object.values(error).some((each) => each !== undefined && each !== null && each !== "");
}

/** What stands in one field may be what the other is for. */
function outputOf(item: unknown): Output | undefined {
  const { url: first, b64_json: second, revised_prompt } = z.safeParse(picture, item).data ?? {};
  if (first === undefined && second === undefined) return undefined;
  return {
    url: first?.url ?? second?.url,
    base64: second?.base64 ?? first?.base64,
    revisedPrompt: revised_prompt,
  };
}

function readError(phase: Phase, answer: Answer, body: z.output<typeof wrapper>): Outcome {
  const error = typeof body.error === "object" ? body.error : undefined;
  const said = typeof body.error === "string" ? body.error : error?.message;
  const code = error?.code ?? body.code ?? error?.type;
  const isNamed = said !== undefined || body.message !== undefined || code !== undefined;
  // Any gateway in between may say `detail` with its 503.
  const own = isNamed || (body.detail !== undefined && answer.status < 500);
  const message = said ?? body.message ?? body.detail ?? `HTTP ${answer.status}`;
  const details = error?.moderation_details;
  const kind =
    details !== undefined ? "moderation" : (meaningOf(error?.code) ?? meaningOf(error?.type));
  if (kind !== undefined && answer.status < 500) {
    const stage = details?.moderation_stage;
    const facts = { message, code, stage, categories: details?.categories };
    return { state: "refused", kind, charged: "no", resend: "never", ...facts };
  }
  const inBody = Number(code);
  const status = answer.status >= 300 ? answer.status : inBody >= 300 && inBody < 600 ? inBody : 0;
  if (status !== 0) {
    return readStatus(phase, { ...answer, status }, own ? { message, code } : undefined);
  }
  return {
    ...{ state: "refused", kind: "generation_failed", charged: "no", resend: "never" },
    ...{ message, code },
  };
}

// ---- definition ----

function createAdapter(settings: {
  name: string;
  model: string;
  prices: TokenPrices | undefined;
  fallbackSize: string;
  keyVariable?: string;
}): Adapter {
  const { name, model, prices, fallbackSize, keyVariable } = settings;
  const common = {
    parameters,
    options,
    maxImagesPerTask: 10,
    dimensions: {
      by: "size",
      sizes: (size: { width: number; height: number }) =>
        isGptImage2(model) ? sizeProblem(size) : undefined,
      auto: true,
      fallback: fallbackSize,
    },
    price: (given: z.output<typeof parameters>, n: number) => listPrice(prices, given, n),
  } as const;
  return {
    name,
    optionsName: "openai",
    ...(keyVariable !== undefined && { keyVariable }),
    authorize: (apiKey) => ({ authorization: `Bearer ${apiKey}` }),
    answersWith: "images",
    idempotent: false,
    decodesImages: true,
    isPartial: (type) => type.endsWith(".partial_image"),
    operations: {
      generate: defineOperation({ ...common, create: (task) => createGeneration(model, task) }),
      edit: defineOperation({ ...common, inputs, create: (task) => createEdit(model, task) }),
    },
    read: (phase, answer) => read(prices, phase, answer),
  };
}

/** The model itself, a dated version of it, or a reseller's `vendor/gpt-image-2`. */
function isGptImage2(model: string): boolean {
  return /(^|\/)gpt-image-2(-\d{4}-\d{2}-\d{2})?$/.test(model);
}

/**
 * Any endpoint that speaks OpenAI's images API. The answer is the image, so there is nothing to
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
  const { name = "openai-compatible", model = "gpt-image-2", prices } = settings;
  return createProvider(
    createAdapter({ name, model, prices, fallbackSize: "1024x1024" }),
    settings,
  );
}

/**
 * OpenAI itself: up to ten images a request, edits with several images and a mask. The key comes
 * from `OPENAI_API_KEY` when not given. `size` is `"auto"` where the request says nothing.
 *
 * Source: OpenAI's images API.
 */
export function openai(settings: OpenAISettings = {}): Provider {
  const { model = "gpt-image-2", baseURL = `${openaiOrigin}/v1` } = settings;
  const published =
    isGptImage2(model) && URL.canParse(baseURL) && new URL(baseURL).origin === openaiOrigin
      ? openaiPrices
      : undefined;
  const prices = settings.prices ?? published;
  const name = "openai";
  const keyVariable = "OPENAI_API_KEY";
  return createProvider(createAdapter({ name, model, prices, fallbackSize: "auto", keyVariable }), {
    ...settings,
    baseURL,
  });
}
