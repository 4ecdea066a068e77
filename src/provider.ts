import * as z from "zod/mini";
import type { Charged, Cost } from "./cost";
import { DecodedImage } from "./decoded-image";
import type { DimensionRule } from "./dimensions";
import { InvalidRequestError } from "./errors";
import { isHeader } from "./header";
import { pictureIn } from "./image-text";
import { type Operation, shown } from "./request";

export { compiled } from "./compiled";
export type { Charged, Cost } from "./cost";
export type { DecodedImage } from "./decoded-image";
export { type DimensionRule, type PixelSize, sizeProblem } from "./dimensions";
export type { Operation } from "./request";

/** An HTTP request, described: the transport adds the origin, the key and everything that can go wrong. */
export interface Call {
  readonly method: "GET" | "POST";
  /** Appended to the provider's base URL. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: { readonly json: unknown } | { readonly parts: readonly Part[] };
}

/** One part of a multipart body. */
export interface Part {
  readonly name: string;
  readonly value: string | ImageFile;
}

/** An input image as bytes, with the type that the bytes have. */
export interface ImageFile {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
  readonly fileName: string;
}

/** What came back. */
export interface Answer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /**
   * The parsed JSON; `undefined` where the body is not JSON. An integer beyond 2^53 is the string of its
   * digits. Of a stream of server-sent events it is what the last one holds.
   */
  readonly body: unknown;
  /** What the events of such a stream hold, in order, save those that {@link Adapter.isPartial} names. */
  readonly events?: readonly unknown[] | undefined;
  /** When it arrived, in milliseconds since 1970: what a date in `Retry-After` is held against. */
  readonly receivedAt: number;
}

/** Which of a provider's two questions was asked. */
export type Phase = "create" | "query";

/** What a task is made of once everything in it has been checked. */
export interface Task<Parameters = Readonly<Record<string, unknown>>, Options = unknown> {
  readonly operation: Operation;
  /** The portable fields that this operation takes, as its schema gave them. */
  readonly parameters: Parameters;
  /** The provider's own entry of `providerOptions`, as its schema gave it. */
  readonly options: Options;
  /** How many images this one task asks for. */
  readonly n: number;
  /** The input images of a provider that takes URLs; otherwise empty. */
  readonly imageUrls: readonly string[];
  /** The input images of a provider that takes bytes; otherwise empty. */
  readonly imageFiles: readonly ImageFile[];
  readonly mask?: ImageFile;
  /** The idempotency key: the same in every attempt at this task. */
  readonly key: string;
  /** Where the provider shall post the outcome, at one that takes the address with the request. */
  readonly webhookUrl?: string;
}

/** What an answer means. */
export type Outcome = Pending | Absent | Succeeded | Refused;

/** The job waits or runs. */
export interface Pending {
  readonly state: "queued" | "running";
  /** The provider's id of the job; must be there in the answer to a create. */
  readonly id?: string | undefined;
  /** The provider's own word for its state. */
  readonly word: string;
  /** False where the adapter had never heard the word. */
  readonly known: boolean;
  /** 0 to 1, where the provider says. */
  readonly progress?: number | undefined;
  readonly cost?: Cost | undefined;
}

/** The provider does not know the job: just after the create that passes. */
export interface Absent {
  readonly state: "absent";
  readonly message: string;
}

/** The pictures are there. */
export interface Succeeded {
  readonly state: "succeeded";
  readonly outputs: readonly Output[];
  readonly cost?: Cost | undefined;
  readonly usage?: Usage | undefined;
  readonly model?: string | undefined;
}

/** One picture, as a URL or as base64; both where the provider gives both. */
export interface Output {
  readonly url?: string | undefined;
  /** As {@link imageField} reads it. */
  readonly base64?: string | DecodedImage | undefined;
  readonly revisedPrompt?: string | undefined;
}

/** Tokens, as the provider counted them. */
export interface Usage {
  readonly inputTokens?: number;
  readonly outputTokens?: number;
  readonly totalTokens?: number;
  /** The part of `inputTokens` that is text. */
  readonly inputTextTokens?: number;
  /** The part of `inputTokens` that is images. */
  readonly inputImageTokens?: number;
}

/** What a refusal or a failure is about; each becomes a class of error. */
export const refusalKinds = [
  "invalid_request",
  "authentication",
  "permission_denied",
  "insufficient_credits",
  "rate_limited",
  "moderation",
  "generation_failed",
  "malformed_response",
  "provider_unavailable",
  "submission_unknown",
] as const;

/** One of {@link refusalKinds}. */
export type RefusalKind = (typeof refusalKinds)[number];

/** A no: `"refused"` is a no to this one exchange, `"failed"` is the end of the job. */
export interface Refused {
  readonly state: "refused" | "failed";
  readonly kind: RefusalKind;
  readonly charged: Charged;
  /**
   * Whether the same exchange may be repeated: `"never"`; `"wait"`, after a while, since nothing was
   * accepted; `"keyed"`, only under an idempotency key, since it may have been accepted.
   */
  readonly resend: "never" | "wait" | "keyed";
  readonly message: string;
  readonly code?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly stage?: string | undefined;
  readonly categories?: readonly string[] | undefined;
  readonly cost?: Cost | undefined;
  /** The option or request field at fault, where it is known, such as `baseURL`. */
  readonly field?: string | undefined;
}

/** What an operation takes of input images. */
export interface InputRule {
  /** How many at most. */
  readonly maxCount: number;
  /** `"url"`: the provider fetches them itself. `"bytes"`: they are uploaded with the request. */
  readonly as: "url" | "bytes";
  /** The media types it reads; checked where the bytes are at hand. */
  readonly mediaTypes?: readonly string[];
  /** The largest file it takes. */
  readonly maxBytes?: number;
  /** With `as: "url"`: only `https:` URLs are taken. */
  readonly httpsOnly?: boolean;
  /** Whether a mask may come along; with `as: "bytes"` alone. */
  readonly mask: boolean;
}

/** One thing that a provider can do, with its schemas bound to its mapping. */
export interface BoundOperation {
  /** The portable fields it takes. */
  readonly fields: readonly string[];
  readonly maxImagesPerTask: number;
  readonly dimensions?: DimensionRule | undefined;
  readonly inputs?: InputRule | undefined;
  /** Checks parameters and options; on success gives the functions that need them. */
  bind(
    parameters: unknown,
    options: unknown,
  ):
    | {
        readonly parameterIssues: readonly z.core.$ZodIssue[];
        readonly optionIssues: readonly z.core.$ZodIssue[];
      }
    | BoundTask;
}

/** A task of a checked request, to be completed with what only the sending knows. */
export interface BoundTask {
  create(sending: Omit<Task, "parameters" | "options">): Call;
  price(n: number): Cost | undefined;
}

/** What an adapter says of one operation. The schemas may be of zod or of its mini build. */
export interface OperationDescription<
  Parameters extends z.core.$ZodObject,
  Options extends z.core.$ZodObject,
> {
  /** The portable fields that it takes, with what each may hold; a field that is not here is unsupported. */
  readonly parameters: Parameters;
  /** The provider's own entry of `providerOptions`. */
  readonly options: Options;
  /** How many images one native request yields at most; more are split into tasks. */
  readonly maxImagesPerTask: number;
  /** How it says how large; left out where it does not. */
  readonly dimensions?: DimensionRule;
  /** For an edit: what it takes of images. */
  readonly inputs?: InputRule;
  /** The native request. */
  create(task: Task<z.output<Parameters>, z.output<Options>>): Call;
  /** What one task of `n` images costs by the published list, where that can be known beforehand. */
  price?(parameters: z.output<Parameters>, n: number): Cost | undefined;
}

/** Ties an operation's schemas to the functions that take their output. */
export function defineOperation<
  Parameters extends z.core.$ZodObject,
  Options extends z.core.$ZodObject,
>(description: OperationDescription<Parameters, Options>): BoundOperation {
  const { maxImagesPerTask, dimensions, inputs } = description;
  return {
    fields: Object.keys(description.parameters._zod.def.shape),
    maxImagesPerTask,
    dimensions,
    inputs,
    bind(givenParameters, givenOptions) {
      const parameters = z.safeParse(description.parameters, givenParameters);
      const options = z.safeParse(
        description.options,
        givenOptions === undefined ? {} : givenOptions,
      );
      if (!parameters.success || !options.success) {
        return {
          parameterIssues: parameters.error?.issues ?? [],
          optionIssues: options.error?.issues ?? [],
        };
      }
      const bound = { parameters: parameters.data, options: options.data };
      return {
        create: (sending) =>
          description.create({ parameters: bound.parameters, options: bound.options, ...sending }),
        price: (n) => description.price?.(parameters.data, n),
      };
    },
  };
}

/**
 * A provider, described: data and pure functions. It never fetches, waits, loops, catches or reads
 * the environment; the client does all of that, the same way for everyone.
 */
export interface Adapter {
  /** The name in results, errors and events, such as `"trinetra"`. */
  readonly name: string;
  /** The provider's entry in `providerOptions`; its name where this is left out. */
  readonly optionsName?: string;
  /** The variable of the environment that holds the key. */
  readonly keyVariable?: string;
  /** The headers that carry the key. */
  authorize(apiKey: string): Readonly<Record<string, string>>;
  /** `"images"`: the create's answer is the outcome, so there is nothing to poll and nothing to resume. */
  readonly answersWith: "job" | "images";
  /** A create repeated with the same `task.key` yields the same job and is billed once. */
  readonly idempotent: boolean;
  /**
   * Whether its schemas read images with {@link imageField}: those of a large answer are then decoded
   * while it comes, and never a string. Without it they are the strings that the provider sent.
   */
  readonly decodesImages?: boolean;
  /**
   * Whether a server-sent event of that type shows a picture that a later event completes. It is let go
   * of; without this every picture of a stream is one that was paid for.
   */
  isPartial?(type: string): boolean;
  /** For how long after the create `absent` means "not yet". Default 15,000. */
  readonly absentGraceMs?: number;
  /** The least wait between two polls of a job that it asks for, in milliseconds, where it does. */
  readonly pollFloorMs?: number;
  /** What it posts when a job has ended, where it does. */
  readonly webhook?: WebhookDescription;
  readonly operations: { readonly generate: BoundOperation; readonly edit?: BoundOperation };
  /** How to ask after a job; for every provider that answers with a job. */
  query?(id: string): Call;
  /** What an answer means: the one place that knows this provider's words. Never throws. */
  read(phase: Phase, answer: Answer): Outcome;
}

/** What a provider posts when a job has ended. */
export interface WebhookDescription {
  /** `"request"`: the address goes with each create. `"account"`: it is set once, at the provider. */
  readonly address: "request" | "account";
  /** The provider's id of the job that a body is about; with `"request"` the address itself says it. */
  read(body: unknown): string | undefined;
  /**
   * For a provider that signs: the content whose HMAC-SHA256 (in base64) must equal the signature;
   * `undefined` where the call carries none.
   */
  signature?(call: {
    readonly body: unknown;
    readonly headers: Readonly<Record<string, string>>;
    readonly text: string;
  }): { readonly content: string; readonly signature: string } | undefined;
}

/** How a provider is reached. */
export interface ProviderSettings {
  /** The key, or a function that yields one (also later); default: the provider's own variable of the environment. */
  readonly apiKey?: string | (() => string | Promise<string>);
  /** Another origin, such as a proxy of yours or the sandbox. */
  readonly baseURL?: string;
  /** Sent with every call to the provider's own origin. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A provider as `createImageClient` takes it. The key is held in a closure: nothing that prints this shows it. */
export interface Provider {
  readonly name: string;
  /** Without a slash at the end. */
  readonly baseURL: string;
  readonly adapter: Adapter;
  /** The caller's own headers. */
  headers(): Readonly<Record<string, string>>;
  /** The key; `undefined` where none was given and the variable is not set. */
  apiKey(): Promise<string | undefined>;
}

/**
 * Makes a provider of an adapter and the place where it lives. The key is looked up at each send,
 * so that a missing one is no error before that.
 *
 * @throws {@link InvalidRequestError} if `baseURL` is not an http(s) URL without credentials.
 */
export function createProvider(
  adapter: Adapter,
  settings: ProviderSettings & { readonly baseURL: string },
): Provider {
  const url = URL.canParse(settings.baseURL) ? new URL(settings.baseURL) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "") {
    throw new InvalidRequestError({
      provider: adapter.name,
      charged: "no",
      field: "baseURL",
      given:
        url?.username || url?.password
          ? "a URL with credentials"
          : shown("baseURL", settings.baseURL),
      taken: 'an http(s) URL without credentials, such as "https://api.example.com/v1"',
    });
  }
  const { apiKey } = settings;
  const given = settings.headers ?? {};
  // Who has a `Headers` may well give it.
  const headers = Symbol.iterator in given ? Object.fromEntries(new Headers(given)) : given;
  checkHeaders(adapter.name, headers);
  return {
    name: adapter.name,
    baseURL: settings.baseURL.replace(/\/+$/, ""),
    adapter,
    headers: () => headers,
    apiKey: async () => {
      const given = typeof apiKey === "function" ? await apiKey() : apiKey;
      const variable = adapter.keyVariable;
      return given ?? (variable === undefined ? undefined : process.env[variable]);
    },
  };
}

/** They are about the connection, which is ours. */
const connectionHeaders = new Set([
  "content-length",
  "expect",
  "keep-alive",
  "transfer-encoding",
  "upgrade",
]);

function checkHeaders(provider: string, headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) {
    if (isHeader(name, value) && !connectionHeaders.has(name.toLowerCase())) continue;
    // The value may be a secret.
    const field = `headers[${JSON.stringify(name)}]`;
    const taken = "a name and a value that HTTP can hold";
    throw new InvalidRequestError({ provider, charged: "no", field, given: "another", taken });
  }
}

/**
 * A provider function like the built-in ones, for an adapter of your own.
 *
 * @example
 * ```ts
 * export const kie = defineProvider("https://api.example.com", adapter);
 * const client = createImageClient({ provider: kie({ apiKey }) });
 * ```
 */
export function defineProvider(
  defaultBaseURL: string,
  adapter: Adapter,
): (settings?: ProviderSettings) => Provider {
  return (settings = {}) =>
    createProvider(adapter, { ...settings, baseURL: settings.baseURL ?? defaultBaseURL });
}

// ---- reading, the parts that every adapter shares ----

/** The provider's own error words, dug out of a body by its adapter. */
export interface ErrorWords {
  readonly message?: string | undefined;
  readonly code?: string | undefined;
  /** Stands in the body where no header says it. */
  readonly retryAfterMs?: number | undefined;
}

/**
 * What a status says by itself. `words` are the provider's own, and `undefined` where the body is
 * not the provider's: a gateway in between may answer a 503 for a create that went through.
 */
export function readStatus(phase: Phase, answer: Answer, words: ErrorWords | undefined): Outcome {
  const { status } = answer;
  const wait = words?.retryAfterMs ?? retryAfterMs(answer);
  const message = words?.message ?? `HTTP ${status}`;
  const facts = { message, code: words?.code, retryAfterMs: wait };
  if (phase === "query") {
    // Whatever a poll answers, the job was accepted: what became of it is not said here.
    if (status === 404) return { state: "absent", message };
    const kind = statusKind(status);
    return {
      state: "refused",
      kind,
      charged: "unknown",
      resend: passes(status) ? "wait" : "never",
      ...facts,
    };
  }
  const ownUnavailable = status === 503 && (words !== undefined || wait !== undefined);
  if (status === 429 || ownUnavailable) {
    const kind = status === 429 ? "rate_limited" : "provider_unavailable";
    return { state: "refused", kind, charged: "no", resend: "wait", ...facts };
  }
  const ownRefusal = status >= 400 && status < 500 && status !== 408 && status !== 499;
  if (ownRefusal) {
    return { state: "refused", kind: statusKind(status), charged: "no", resend: "never", ...facts };
  }
  return {
    state: "refused",
    kind: "submission_unknown",
    charged: "unknown",
    resend: "keyed",
    ...facts,
  };
}

function passes(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || status >= 500;
}

function statusKind(status: number): RefusalKind {
  if (status === 401 || status === 403) return "authentication";
  if (status === 402) return "insufficient_credits";
  if (status === 429) return "rate_limited";
  if (status >= 400 && status < 500 && !passes(status)) return "invalid_request";
  return "provider_unavailable";
}

/** An answer that cannot be read: a poll is repeated; of a create nobody knows what became. */
export function unreadable(phase: Phase, message: string): Outcome {
  const resend = phase === "query" ? "wait" : "keyed";
  return { state: "refused", kind: "malformed_response", charged: "unknown", resend, message };
}

/** A success that holds no picture: paid, and nothing to show for it. */
export function withoutImage(message: string, cost?: Cost): Refused {
  return {
    state: "failed",
    kind: "malformed_response",
    charged: "yes",
    resend: "never",
    message,
    cost,
  };
}

/** `Retry-After` in milliseconds, given in seconds or as a date. */
export function retryAfterMs(answer: Answer): number | undefined {
  const header = answer.headers["retry-after"];
  if (header === undefined) return undefined;
  const seconds = Number(header);
  if (header.trim() !== "" && Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - answer.receivedAt);
}

/** Reads a string, or a number as a string: providers send codes as either. */
export const textOrNumber = z.pipe(z.union([z.string(), z.number()]), z.transform(String));

/**
 * Reads a provider's id of a job, from a string or a number. What is not certain to be the id that was
 * written is none, since it would ask for somebody else's job: a number that is no integer or larger than
 * a double holds (whole ones beyond 2^53 come as strings), zero, which is what some servers write for "no
 * job", a dot, which a URL would not keep, and characters that no text can hold.
 */
export const jobId = z.union([
  z.string().check(z.regex(/^(?!\.{1,2}$)[^\p{Surrogate}\ufffd]+$/u)),
  z.pipe(z.int().check(z.positive()), z.transform(String)),
]);

/** Reads a number, or a string that holds one; `null`, `""` and the like are no number, and not 0. */
export const numberOrText = z.pipe(
  z.union([z.number(), z.string().check(z.regex(/^\d+(\.\d+)?$/))]),
  z.coerce.number(),
);

/** A value that JSON can hold. */
export const jsonValue = z.unknown().check(
  z.refine((value) => {
    try {
      return JSON.stringify(value) !== undefined;
    } catch {
      // A BigInt, or a circle.
      return false;
    }
  }, "a value that JSON can hold"),
);

/** For a field of an answer: what does not fit is as good as absent, so that one odd field spoils nothing. */
export function lenient<Schema extends z.core.$ZodType>(schema: Schema) {
  return z.catch(z.optional(schema), undefined);
}

/** For a value that some answers hold as JSON in a string, and some as it is. */
export const jsonOrText = z.transform((value: unknown, context) => {
  if (typeof value !== "string") return value;
  try {
    const parsed: unknown = JSON.parse(value);
    return parsed;
  } catch {
    // Reported to the schema around it, which says what becomes of a value that cannot be read.
    context.issues.push({ code: "custom", message: "not JSON", input: value });
    return z.NEVER;
  }
});

/** A provider's word for a state, with its meaning in `table`; `undefined` where nobody knows it. */
export function stateWord<State extends string>(table: Readonly<Record<string, State>>) {
  return z.pipe(
    textOrNumber,
    z.transform((word) => {
      const key = word.toLowerCase();
      return { word, state: Object.hasOwn(table, key) ? table[key] : undefined };
    }),
  );
}

/** The prompt, up to the provider's limit; counted in characters, of which an emoji is one. */
export function promptUpTo(limit: number) {
  return z.string().check(
    z.refine((prompt) => prompt.length <= limit || [...prompt].length <= limit, {
      // Said when it is asked for: the first number put in words by locale takes 8 ms.
      error: () => `at most ${limit.toLocaleString("en")} characters`,
    }),
  );
}

/**
 * Reads a field that holds an image, as base64, as a data URL or as a URL, whatever the field is named.
 * A word such as `"None"`, an error's words and whatever else is no image are as good as no field. A large
 * image is decoded while its answer comes in, and what stands there then is the image.
 */
export const imageField = z.transform((value: unknown, context): Output => {
  if (value instanceof DecodedImage) return { base64: value };
  const picture = typeof value === "string" ? pictureIn(value) : undefined;
  if (picture !== undefined) return picture;
  context.issues.push({ code: "custom", message: "neither an image nor a URL", input: value });
  return z.NEVER;
});
