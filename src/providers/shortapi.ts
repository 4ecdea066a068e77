import * as z from "zod/mini";
import {
  type Adapter,
  type Answer,
  type Call,
  type Cost,
  defineOperation,
  defineProvider,
  imageField,
  jobId,
  lenient,
  numberOrText,
  type Outcome,
  type Phase,
  promptUpTo,
  type Refused,
  readStatus,
  stateWord,
  textOrNumber,
  unreadable,
  withoutImage,
} from "../provider";

// ---- options it alone takes ----

const options = z.strictObject({
  model: z.optional(z.string("a model's name").check(z.minLength(1, "a model's name"))),
});

// ---- request mapping ----

const editParameters = z.strictObject({
  // The pages name no limit; this is the model's own.
  prompt: promptUpTo(32_000),
  webhookUrl: z.optional(z.string()),
});

const generateParameters = z.extend(editParameters, { size: z.optional(z.string()) });

const sizes = ["1024x1024", "1536x1024", "1024x1536", "auto"] as const;

function createJob(model: string, args: object, callbackUrl: string | undefined): Call {
  return {
    method: "POST",
    path: "/api/v1/job/create",
    body: { json: { model, args, callback_url: callbackUrl } },
  };
}

const listPrice: Cost = { amount: 0.06, unit: "USD", basis: "list" };

// ---- states ----

const states = {
  "0": "queued",
  "1": "running",
  "2": "succeeded",
  queued: "queued",
  pending: "queued",
  running: "running",
  processing: "running",
  succeeded: "succeeded",
  success: "succeeded",
  failed: "failed",
  error: "failed",
  cancelled: "failed",
  moderated: "failed",
} as const;

// ---- response schemas ----

const message = lenient(z.string().check(z.minLength(1)));

const id = lenient(jobId);

const data = z.looseObject({
  job_id: id,
  amount: lenient(z.pipe(numberOrText, z.number().check(z.minimum(0)))),
  status: lenient(stateWord(states)),
  result: lenient(
    z.looseObject({
      images: lenient(z.array(lenient(z.looseObject({ url: lenient(imageField) })))),
    }),
  ),
  refunded: lenient(z.boolean()),
  error: message,
  info: message,
});

const envelope = z.looseObject({
  code: lenient(textOrNumber),
  // The page's samples read it here, its schema nests it under `data`.
  job_id: id,
  data: lenient(data),
  info: message,
  message,
  msg: message,
  error: message,
});

// ---- reading ----

function read(phase: Phase, answer: Answer): Outcome {
  const body = envelope.safeParse(answer.body);
  if (!body.success) {
    return answer.status < 300
      ? unreadable(phase, "It is not the JSON that the page describes")
      : readStatus(phase, answer, undefined);
  }
  const { code, data, job_id } = body.data;
  if (answer.status >= 300 || (code !== undefined && code !== "0" && code !== "200")) {
    const no = readRefusal(phase, answer, body.data);
    // A no that names a job contradicts itself: somebody may have accepted it.
    const named = phase === "create" && (data?.job_id ?? job_id) !== undefined;
    return named && no.state === "refused" ? { ...no, charged: "unknown", resend: "never" } : no;
  }
  if (phase === "query") {
    return data?.status === undefined
      ? unreadable(phase, "There is no status in it")
      : readJob(data, data.status);
  }
  const id = data?.job_id ?? job_id;
  if (id === undefined) return unreadable(phase, "There is no job_id in it");
  return { state: "queued", id, word: "submitted", known: true, cost: amountOf(data) };
}

// The page gives `amount` no unit; every price there is in dollars.
function amountOf(data: { amount?: number | undefined } | undefined): Cost | undefined {
  if (data?.amount === undefined) return undefined;
  return { amount: data.amount, unit: "USD", basis: "reported" };
}

function readJob(
  job: z.output<typeof data>,
  { word, state }: { word: string; state: (typeof states)[keyof typeof states] | undefined },
): Outcome {
  const cost = amountOf(job);
  // Seen in others' clients alone: every number from 3 on is a failure.
  if (state === "failed" || Number(word) >= 3) {
    const text = job.error ?? job.info ?? "The job failed";
    const kind = word === "moderated" || saysModerated(text) ? "moderation" : "generation_failed";
    const charged = job.refunded === true ? "no" : "unknown";
    return { state: "failed", kind, charged, resend: "never", message: text, code: word, cost };
  }
  if (state === "succeeded") {
    const outputs = job.result?.images?.flatMap((image) => image?.url ?? []) ?? [];
    if (outputs.length === 0) return withoutImage("The job succeeded, and has no image URL", cost);
    return { state, outputs, cost };
  }
  return { state: state ?? "running", word, known: state !== undefined, cost };
}

// Its codes are documented nowhere: what a refusal is about stands in its words alone.
function saysModerated(text: string): boolean {
  return /content polic|moderation|safety|nsfw/i.test(text);
}

function readRefusal(phase: Phase, answer: Answer, body: z.output<typeof envelope>): Outcome {
  const { code } = body;
  const text = body.info ?? body.message ?? body.msg ?? body.error ?? body.data?.info;
  const words = { message: text ?? body.data?.error ?? `code ${code ?? answer.status}`, code };
  const status = answer.status >= 300 ? answer.status : Number(code);
  // Behind these nobody knows whether it was accepted, whatever the words are about.
  const uncertain = status === 408 || status === 499 || (status >= 500 && status < 600);
  if (phase === "create" && !uncertain && saysModerated(words.message)) {
    return refusal(words, "moderation");
  }
  if (answer.status >= 300 || (status >= 300 && status < 600))
    return readStatus(phase, { ...answer, status }, words);
  // A word in place of a number says neither yes nor no.
  if (Number.isNaN(status)) return unreadable(phase, words.message);
  if (phase === "query") {
    return { ...refusal(words, "provider_unavailable"), charged: "unknown", resend: "wait" };
  }
  // 3000: the upstream is unstable.
  if (code === "3000") return refusal(words, "provider_unavailable");
  const broke = /insufficient|balance|not enough credit/i.test(words.message);
  return refusal(words, broke ? "insufficient_credits" : "generation_failed");
}

function refusal(words: { message: string; code: string | undefined }, kind: Refused["kind"]) {
  return { state: "refused", kind, charged: "no", resend: "never", ...words } as const;
}

// ---- definition ----

const adapter: Adapter = {
  name: "shortapi",
  keyVariable: "SHORTAPI_KEY",
  authorize: (apiKey) => ({ authorization: `Bearer ${apiKey}` }),
  answersWith: "job",
  idempotent: false,
  decodesImages: true,
  operations: {
    generate: defineOperation({
      parameters: generateParameters,
      options,
      maxImagesPerTask: 1,
      dimensions: { by: "size", sizes, auto: true },
      create: ({ parameters: { prompt, size }, options: { model }, webhookUrl }) =>
        createJob(model ?? "openai/gpt-image-2/text-to-image", { prompt, size }, webhookUrl),
      price: () => listPrice,
    }),
    edit: defineOperation({
      parameters: editParameters,
      options,
      maxImagesPerTask: 1,
      inputs: { as: "url", maxCount: 16, mask: false },
      create: ({ parameters: { prompt }, options: { model }, imageUrls, webhookUrl }) =>
        createJob(model ?? "openai/gpt-image-2/edit", { prompt, images: imageUrls }, webhookUrl),
      price: () => listPrice,
    }),
  },
  // The payload is documented nowhere: the address alone says which job it is about.
  webhook: { address: "request", read: () => undefined },
  query: (id) => ({ method: "GET", path: "/api/v1/job/query", query: { id } }),
  read,
};

/**
 * ShortAPI: one image a job; `size` of a short list, none for edits; edits from up to 16 URLs. The
 * key comes from `SHORTAPI_KEY` when not given. List price: $0.06 a request; what a result reports
 * is what the provider said.
 *
 * Source: https://shortapi.ai, the pages "openai/gpt-image-2/text-to-image" and "…/edit".
 */
export const shortapi = defineProvider("https://api.shortapi.ai", adapter);
