import * as z from "zod/mini";
import {
  type Adapter,
  type Call,
  type Cost,
  defineOperation,
  defineProvider,
  imageField,
  isUncertain,
  jobId,
  kindOfStatus,
  lenient,
  moderated,
  numberOrText,
  type Outcome,
  once,
  type Phase,
  type ProviderResponse,
  promptUpTo,
  readStatus,
  stateWord,
  textOrNumber,
  unreadable,
  withoutImage,
} from "../provider";

// ---- options it alone takes ----

const options = /* @__PURE__ */ once(() =>
  z.strictObject({
    model: z.optional(z.string("a model's name").check(z.minLength(1, "a model's name"))),
  }),
);

// ---- request mapping ----

const editParameters = /* @__PURE__ */ once(() =>
  z.strictObject({
    // The pages name no limit; this is the model's own.
    prompt: promptUpTo(32_000),
    webhookUrl: z.optional(z.string()),
  }),
);

const generateParameters = /* @__PURE__ */ once(() =>
  z.extend(editParameters(), { size: z.optional(z.string()) }),
);

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

const message = /* @__PURE__ */ once(() => lenient(z.string().check(z.minLength(1))));

const data = /* @__PURE__ */ once(() =>
  z.looseObject({
    job_id: lenient(jobId),
    amount: lenient(z.pipe(numberOrText, z.number().check(z.minimum(0)))),
    status: lenient(stateWord(states)),
    result: lenient(
      z.looseObject({
        images: lenient(z.array(lenient(z.looseObject({ url: lenient(imageField) })))),
      }),
    ),
    refunded: lenient(z.boolean()),
    error: message(),
    info: message(),
  }),
);

const envelope = /* @__PURE__ */ once(() =>
  z.looseObject({
    code: lenient(textOrNumber),
    // The page's samples read it here, its schema nests it under `data`.
    job_id: lenient(jobId),
    data: lenient(data()),
    info: message(),
    message: message(),
    msg: message(),
    error: message(),
  }),
);

// ---- reading ----

function read(phase: Phase, response: ProviderResponse): Outcome {
  const body = envelope().safeParse(response.body);
  if (!body.success) {
    return response.status < 300
      ? unreadable(phase, "It is not the JSON that the page describes")
      : readStatus(phase, response, undefined);
  }
  const { code, data, job_id } = body.data;
  const id = data?.job_id ?? job_id;
  if (response.status >= 300 || (code !== undefined && code !== "0" && code !== "200")) {
    const no = readRefusal(phase, response, body.data);
    // A refusal that names a job contradicts itself: it may have been accepted.
    const contradictsItself = phase === "create" && id !== undefined && no.state === "refused";
    return contradictsItself ? { ...no, charged: "unknown", resend: "never" } : no;
  }
  if (phase === "query") {
    return data?.status === undefined
      ? unreadable(phase, "There is no status in it")
      : readJob(data, data.status);
  }
  if (id === undefined) return unreadable(phase, "There is no job_id in it");
  return { state: "queued", id, word: "submitted", known: true, cost: amountOf(data) };
}

// The page gives `amount` no unit; every price there is in dollars.
function amountOf(data: { amount?: number | undefined } | undefined): Cost | undefined {
  if (data?.amount === undefined) return undefined;
  return { amount: data.amount, unit: "USD", basis: "reported" };
}

function readJob(
  job: z.output<ReturnType<typeof data>>,
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

function readRefusal(
  phase: Phase,
  response: ProviderResponse,
  body: z.output<ReturnType<typeof envelope>>,
): Outcome {
  const { code } = body;
  const text = body.info ?? body.message ?? body.msg ?? body.error ?? body.data?.info;
  const message = text ?? body.data?.error ?? `code ${code ?? response.status}`;
  const number = code !== undefined && /^-?\d+$/.test(code) ? Number(code) : undefined;
  if (phase === "query") return readRefusedPoll(response, message, code, number);
  const { status } = response;
  const words = { message, code };
  // Under any other 5xx it is a gateway's word, whatever the body looks like.
  const isOwn = number !== undefined && (status === 200 || status === 503 || !isUncertain(status));
  if (isOwn && !saysNo(number)) {
    const kind = isUncertain(status) ? "submission_unknown" : kindOfStatus(status);
    const refused = { state: "refused", charged: "unknown", resend: "never", ...words } as const;
    return { ...refused, kind: number === 3000 ? "provider_unavailable" : kind };
  }
  if (!isOwn && status < 300) return unreadable(phase, message);
  if (!isOwn && isUncertain(status)) return readStatus(phase, response, words);
  if (saysModerated(message)) return moderated(words);
  const facts = { state: "refused", charged: "no", resend: "never", ...words } as const;
  if (saysBroke(message)) return { ...facts, kind: "insufficient_credits" };
  if (isOwn && isUncertain(status)) {
    // Under 200 and 503 the number is the status, where it can be one.
    if (number >= 400 && number < 500) {
      return readStatus(phase, { ...response, status: number }, words);
    }
    if (status === 200) return { ...facts, kind: "generation_failed" };
  }
  return readStatus(phase, response, words, [503]);
}

function saysBroke(message: string): boolean {
  return /insufficient (balance|credit|fund|quota)|balance|not enough credit/i.test(message);
}

/**
 * Whether a code in a create's envelope is a refusal, by what others' clients make of it: the pages
 * name no code. 3000 (the upstream is unstable) and what would be uncertain as a status leave open
 * what was done.
 */
function saysNo(code: number): boolean {
  const isSuccess = code === 0 || code === 200;
  const isServerError = code >= 500 && code < 600;
  return !isSuccess && !isServerError && ![3000, 408, 423, 424, 425, 499].includes(code);
}

/** It says nothing of the job: it is asked again, except where asking again cannot help. */
function readRefusedPoll(
  response: ProviderResponse,
  message: string,
  code: string | undefined,
  number: number | undefined,
): Outcome {
  const status = response.status >= 300 ? response.status : (number ?? Number.NaN);
  if (status >= 300 && status < 600) {
    return readStatus("query", { ...response, status }, { message, code });
  }
  // A word in place of a number says neither yes nor no.
  const kind = number === undefined ? "malformed_response" : "provider_unavailable";
  return { state: "refused", kind, charged: "unknown", resend: "wait", message, code };
}

// ---- definition ----

const adapter = /* @__PURE__ */ once(
  (): Adapter => ({
    name: "shortapi",
    keyVariable: "SHORTAPI_KEY",
    authorize: (apiKey) => ({ authorization: `Bearer ${apiKey}` }),
    answersWith: "job",
    idempotent: false,
    decodesImages: true,
    operations: {
      generate: defineOperation({
        parameters: generateParameters(),
        options: options(),
        maxImagesPerTask: 1,
        dimensions: { by: "size", sizes, auto: true },
        create: ({ parameters: { prompt, size }, options: { model }, webhookUrl }) =>
          createJob(model ?? "openai/gpt-image-2/text-to-image", { prompt, size }, webhookUrl),
        price: () => listPrice,
      }),
      edit: defineOperation({
        parameters: editParameters(),
        options: options(),
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
  }),
);

/**
 * ShortAPI: one image a job; `size` of a short list, none for edits; edits from up to 16 URLs. The
 * key comes from `SHORTAPI_KEY` when not given. List price: $0.06 a request, which
 * `estimate` gives; the `cost` of a result is what ShortAPI reports, $0.02 whatever the model, and need
 * not be what it bills. No page documents its refusals: that one with a code of its own is not
 * charged is what others' clients go by.
 *
 * Source: https://shortapi.ai, the pages "openai/gpt-image-2/text-to-image" and "…/edit".
 */
export const shortapi = /* @__PURE__ */ defineProvider("https://api.shortapi.ai", adapter);
