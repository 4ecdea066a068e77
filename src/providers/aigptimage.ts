import * as z from "zod/mini";
import {
  type Adapter,
  defineOperation,
  defineProvider,
  type InputRule,
  imageField,
  isUncertain,
  jobId,
  jsonOrText,
  lenient,
  moderated,
  numberOrText,
  type Outcome,
  once,
  type Phase,
  type ProviderResponse,
  promptUpTo,
  type Refused,
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
    model: z.optional(z.string("a model's name").check(z.minLength(1, "a model's name"))),
  }),
);

// ---- request mapping ----

const parameters = /* @__PURE__ */ once(() =>
  z.strictObject({
    prompt: promptUpTo(20_000),
    aspectRatio: z.optional(z.string()),
    resolution: z.optional(z.enum(["1K", "2K", "4K"])),
    // Both are passed through to the image backend, says the page: any word may be right.
    quality: z.optional(z.string()),
    outputFormat: z.optional(z.string()),
  }),
);

const dimensions = { by: "ratio", resolutions: ["1K", "2K", "4K"], auto: true } as const;

const inputs: InputRule = {
  as: "url",
  maxCount: 16,
  httpsOnly: true,
  mediaTypes: ["image/jpeg", "image/png", "image/webp"],
  maxBytes: 30 * 1024 * 1024,
  mask: false,
};

type AigptimageTask = Task<
  z.output<ReturnType<typeof parameters>>,
  z.output<ReturnType<typeof options>>
>;

function createTask(model: string, task: AigptimageTask) {
  const { prompt, aspectRatio, resolution, quality, outputFormat } = task.parameters;
  const input = {
    prompt,
    aspect_ratio: aspectRatio,
    resolution,
    quality,
    output_format: outputFormat,
    input_urls: task.operation === "edit" ? task.imageUrls : undefined,
  };
  return {
    method: "POST",
    path: "/api/v1/jobs/createTask",
    headers: { "X-Request-ID": task.key },
    body: { json: { model: task.options.model ?? model, input } },
  } as const;
}

// ---- states ----

const states = {
  waiting: "queued",
  queuing: "queued",
  generating: "running",
  success: "succeeded",
  fail: "failed",
} as const;

// ---- response schemas ----

const record = /* @__PURE__ */ once(() =>
  z.looseObject({
    taskId: lenient(jobId),
    state: lenient(stateWord(states)),
    model: lenient(z.string()),
    progress: lenient(z.pipe(numberOrText, z.number().check(z.minimum(0), z.maximum(100)))),
    resultJson: lenient(
      z.pipe(jsonOrText, z.looseObject({ resultUrls: z.array(lenient(imageField)) })),
    ),
    failCode: lenient(textOrNumber),
    failMsg: lenient(z.string()),
    // In the body of a 429, in seconds.
    retryAfter: lenient(z.number().check(z.minimum(0))),
  }),
);

const envelope = /* @__PURE__ */ once(() =>
  z.looseObject({
    code: lenient(textOrNumber),
    msg: lenient(z.string()),
    message: lenient(z.string()),
    data: lenient(record()),
  }),
);

type TaskRecord = z.output<ReturnType<typeof record>>;
type Envelope = z.output<ReturnType<typeof envelope>>;

// ---- reading ----

function read(phase: Phase, response: ProviderResponse): Outcome {
  const body = envelope().safeParse(response.body);
  if (!body.success) {
    return response.status < 300
      ? unreadable(phase, "It is not the JSON that the page describes")
      : readStatus(phase, response, undefined);
  }
  const { data } = body.data;
  // Where a state is given it decides, whatever `code` says.
  if (phase === "query" && data?.state !== undefined) return readRecord(data, data.state);
  const isAccepted = body.data.code === "200" && data?.taskId !== undefined;
  if (phase === "create" && !isAccepted && response.status >= 300 && isUncertain(response.status)) {
    const outcome = readStatus(phase, response, wordsOf(response, body.data));
    // Whatever the body says, it may have gone through; though some of that no key helps against.
    const isFinal = outcome.state === "refused" && finalCodes.includes(body.data.code ?? "");
    return isFinal ? { ...outcome, resend: "never" } : outcome;
  }
  const status = phase === "create" && isAccepted ? 200 : statusOf(response, body.data.code);
  if (status >= 300) return readRefusal(phase, { ...response, status }, body.data);
  if (phase === "query") return unreadable(phase, "There is no state in it");
  if (data?.taskId === undefined) return unreadable(phase, "There is no taskId in it");
  return { state: "queued", id: data.taskId, word: "submitted", known: true };
}

/** The body's code outranks the HTTP status, which may be 200 for anything. */
function statusOf(response: ProviderResponse, code: string | undefined): number {
  const status = Number(code);
  return Number.isInteger(status) && status >= 100 && status !== 200 ? status : response.status;
}

function wordsOf({ status }: ProviderResponse, { code, msg, message, data }: Envelope) {
  const retryAfterMs = data?.retryAfter === undefined ? undefined : data.retryAfter * 1000;
  return { message: msg ?? message ?? `code ${status}`, code, retryAfterMs };
}

function readRecord(
  data: TaskRecord,
  { word, state }: { word: string; state: (typeof states)[keyof typeof states] | undefined },
): Outcome {
  if (state === "failed") return failure(data.failMsg ?? "The task failed", data.failCode);
  if (state === "succeeded") {
    const outputs = data.resultJson?.resultUrls.filter((url) => url !== undefined) ?? [];
    if (outputs.length === 0) return withoutImage("The task succeeded, and resultJson has no URL");
    return { state, outputs, model: data.model };
  }
  const progress = data.progress === undefined ? undefined : data.progress / 100;
  return { state: state ?? "running", word, known: state !== undefined, progress };
}

// A refusal by moderation is told from other failures by its words alone.
function saysModerated(message: string): boolean {
  return /content polic|moderation|safety|nsfw/i.test(message);
}

// No page says who pays for a task that failed.
function failure(message: string, code: string | undefined): Refused {
  const kind = saysModerated(message) ? "moderation" : "generation_failed";
  return { state: "failed", kind, charged: "unknown", resend: "never", message, code };
}

/** Codes that no second attempt changes: who is to pay, the request itself, a model that is disabled. */
const finalCodes = ["400", "401", "402", "403", "404", "422", "433", "505"];

/** What stands in the page's table, or its relatives', and means something else than HTTP does. */
const ownCodes: Readonly<Record<number, Pick<Refused, "kind" | "resend">>> = {
  409: { kind: "rate_limited", resend: "wait" },
  433: { kind: "rate_limited", resend: "never" },
  455: { kind: "provider_unavailable", resend: "never" },
  505: { kind: "provider_unavailable", resend: "never" },
};

function readRefusal(phase: Phase, response: ProviderResponse, body: Envelope): Outcome {
  const words = wordsOf(response, body);
  const { message, code } = words;
  if (phase === "query") {
    if (response.status === 501) return failure(message, code);
    if (response.status === 422 && /is null/i.test(message)) return { state: "absent", message };
    return readStatus(phase, response, words);
  }
  const own = ownCodes[response.status];
  if (own !== undefined) return { state: "refused", charged: "no", ...words, ...own };
  const isInvalid = response.status === 400 || response.status === 422;
  return isInvalid && saysModerated(message)
    ? moderated(words)
    : readStatus(phase, response, words);
}

// ---- definition ----

const adapter = /* @__PURE__ */ once((): Adapter => {
  const common = { parameters: parameters(), options: options(), maxImagesPerTask: 1, dimensions };
  return {
    name: "aigptimage",
    keyVariable: "AIGPTIMAGE_API_KEY",
    authorize: (apiKey) => ({ authorization: `Bearer ${apiKey}` }),
    answersWith: "job",
    idempotent: true,
    decodesImages: true,
    operations: {
      generate: defineOperation({
        ...common,
        create: (task) => createTask("gpt-image-2-text-to-image", task),
      }),
      edit: defineOperation({
        ...common,
        inputs,
        create: (task) => createTask("gpt-image-2-image-to-image", task),
      }),
    },
    query: (id) => ({ method: "GET", path: "/api/v1/jobs/recordInfo", query: { taskId: id } }),
    read,
  };
});

/**
 * aigptimage: one image a task; `aspectRatio` with `resolution`; edits from public https URLs. The
 * key comes from `AIGPTIMAGE_API_KEY` when not given. Its creates carry an idempotency key
 * (`X-Request-ID`), so that one whose response was lost is sent again and billed once.
 *
 * Source: https://aigptimage.com, "GPT Image 2 Text to Image API Documentation".
 */
export const aigptimage = /* @__PURE__ */ defineProvider("https://aigptimage.com", adapter);
