import * as z from "zod/mini";
import {
  type Adapter,
  type Call,
  type Cost,
  defineOperation,
  defineProvider,
  type ErrorWords,
  imageField,
  jobId,
  lenient,
  moderated,
  type Outcome,
  once,
  type Phase,
  type ProviderResponse,
  promptUpTo,
  readStatus,
  stateWord,
  type Task,
  textOrNumber,
  unreadable,
  withoutImage,
} from "../provider";

// ---- options it alone takes ----

const options = /* @__PURE__ */ once(() =>
  z.strictObject({
    // It becomes a part of the path, and must not leave it.
    model: z.optional(z.string("a model's name").check(z.regex(/^[\w.-]*\w$/, "a model's name"))),
  }),
);

// ---- request mapping ----

const parameters = /* @__PURE__ */ once(() =>
  z.strictObject({
    // The page names no limit; this is the model's own.
    prompt: promptUpTo(32_000),
    aspectRatio: z.optional(z.string()),
    quality: z.optional(z.enum(["low", "medium", "high", "auto"])),
    background: z.optional(z.enum(["transparent", "opaque", "auto"])),
    outputFormat: z.optional(z.enum(["png", "jpeg", "webp"])),
    outputCompression: z.optional(z.number()),
    moderation: z.optional(z.enum(["low", "auto"])),
    user: z.optional(z.string()),
  }),
);

type Parameters = z.output<ReturnType<typeof parameters>>;
type TrinetraTask = Task<Parameters, z.output<ReturnType<typeof options>>>;

function create({ parameters, options, n, imageUrls }: TrinetraTask): Call {
  const json = {
    prompt: parameters.prompt,
    aspect_ratio: parameters.aspectRatio,
    quality: parameters.quality,
    n,
    background: parameters.background,
    output_format: parameters.outputFormat,
    output_compression: parameters.outputCompression,
    moderation: parameters.moderation,
    user: parameters.user,
    image_url: imageUrls[0],
  };
  return { method: "POST", path: `/v1/image/${options.model ?? "gpt-image-2"}`, body: { json } };
}

const creditsAnImage = { low: 3, medium: 7, high: 14, auto: undefined } as const;

function price({ quality = "medium" }: Parameters, n: number): Cost | undefined {
  const credits = creditsAnImage[quality];
  return credits === undefined
    ? undefined
    : { amount: credits * n, unit: "credits", basis: "list" };
}

// ---- states ----

const states = {
  queued: "queued",
  succeeded: "succeeded",
  // The page names no others; these are what its kind of API says.
  pending: "queued",
  submitted: "queued",
  waiting: "queued",
  created: "queued",
  processing: "running",
  running: "running",
  in_progress: "running",
  started: "running",
  generating: "running",
  failed: "failed",
  error: "failed",
  cancelled: "failed",
  canceled: "failed",
  expired: "failed",
  timeout: "failed",
  rejected: "failed",
  moderated: "failed",
} as const;

// ---- response schemas ----

const job = /* @__PURE__ */ once(() => {
  const text = lenient(z.string().check(z.minLength(1)));
  const errorObject = z.looseObject({ message: text, code: lenient(textOrNumber) });
  return z.looseObject({
    // The create says `job_id`, the query `id`.
    job_id: lenient(jobId),
    id: lenient(jobId),
    status: lenient(stateWord(states)),
    model: text,
    output: lenient(
      z.looseObject({
        outputs: lenient(z.array(lenient(z.looseObject({ url: lenient(imageField) })))),
      }),
    ),
    credits_charged: lenient(z.number().check(z.minimum(0))),
    progress: lenient(z.number().check(z.minimum(0), z.maximum(1))),
    error: lenient(z.union([z.string().check(z.minLength(1)), errorObject])),
    message: text,
    detail: text,
  });
});

type Job = z.output<ReturnType<typeof job>>;

// ---- reading ----

function read(phase: Phase, response: ProviderResponse): Outcome {
  const body = job().safeParse(response.body);
  if (response.status >= 300) {
    const words = body.success ? errorWords(body.data) : undefined;
    const { message = "", code } = words ?? {};
    const isInvalid = response.status === 400 || response.status === 422;
    // A field of that name may be what is wrong.
    const text = message.replace(/['"`]moderation['"`]/g, "");
    if (phase === "create" && isInvalid && saysModerated(text)) {
      return moderated({ message, code });
    }
    return readStatus(phase, response, words);
  }
  if (!body.success) return unreadable(phase, "It is not the JSON that the page describes");
  const { status, progress } = body.data;
  if (phase === "create") {
    const id = body.data.job_id ?? body.data.id;
    if (id === undefined) return unreadable(phase, "There is no job_id in it");
    return { state: "queued", id, word: status?.word ?? "submitted", known: true };
  }
  if (status === undefined) return unreadable(phase, "There is no status in it");
  if (status.state === "failed") return failure(body.data, status.word);
  if (status.state === "succeeded") return success(body.data);
  const { word, state } = status;
  return { state: state ?? "running", word, known: state !== undefined, progress };
}

function errorWords(body: Job): ErrorWords | undefined {
  const { error } = body;
  if (typeof error === "object") {
    return { message: error.message ?? body.message ?? body.detail, code: error.code };
  }
  const message = error ?? body.message ?? body.detail;
  return message === undefined ? undefined : { message };
}

// No failure is documented: a refusal by moderation is told from others by its words alone.
function saysModerated(text: string): boolean {
  return /content polic|moderat|safety|nsfw/i.test(text);
}

function costOf({ credits_charged }: Job): Cost | undefined {
  if (credits_charged === undefined) return undefined;
  return { amount: credits_charged, unit: "credits", basis: "reported" };
}

function success(body: Job): Outcome {
  const cost = costOf(body);
  const outputs = body.output?.outputs?.flatMap((output) => output?.url ?? []) ?? [];
  if (outputs.length === 0) return withoutImage("The job succeeded, and has no image URL", cost);
  return { state: "succeeded", outputs, cost, model: body.model };
}

function failure(body: Job, word: string): Outcome {
  const { message = `The job ended as ${word}`, code = word } = errorWords(body) ?? {};
  const kind = saysModerated(`${word} ${message}`) ? "moderation" : "generation_failed";
  const cost = costOf(body);
  // Jobs are billed on success; a charge that is reported all the same is believed.
  const charged = cost !== undefined && cost.amount > 0 ? "yes" : "no";
  return { state: "failed", kind, charged, resend: "never", message, code, cost };
}

// ---- definition ----

const adapter = /* @__PURE__ */ once((): Adapter => {
  const operation = {
    parameters: parameters(),
    options: options(),
    maxImagesPerTask: 4,
    dimensions: { by: "ratio", auto: false },
    create,
    price,
  } as const;
  return {
    name: "trinetra",
    keyVariable: "TRINETRA_API_KEY",
    authorize: (apiKey) => ({ "x-api-key": apiKey }),
    answersWith: "job",
    idempotent: false,
    decodesImages: true,
    operations: {
      generate: defineOperation(operation),
      edit: defineOperation({ ...operation, inputs: { as: "url", maxCount: 1, mask: false } }),
    },
    // The terminal job document, posted to the address that is set on the key; unsigned.
    webhook: { address: "account", read: (body) => job().safeParse(body).data?.id },
    query: (id) => ({ method: "GET", path: `/v1/jobs/${encodeURIComponent(id)}` }),
    read,
  };
});

/**
 * Trinetra: up to four images a job; `aspectRatio` without a resolution; edits from one URL. The
 * key comes from `TRINETRA_API_KEY` when not given. Costs are credits: 3, 7 or 14 an image by the
 * page's table, and in a result what the provider reports.
 *
 * Source: https://trinetra.ai, "OpenAI GPT Image 2".
 */
export const trinetra = /* @__PURE__ */ defineProvider(
  "https://brahmand-api.bulletshorts.co",
  adapter,
);
