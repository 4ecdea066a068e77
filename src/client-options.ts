import * as z from "zod/mini";
import type { Provider } from "./adapter/provider";
import { once } from "./async/lazy";
import type { RequestDispatcher } from "./http/caller-transport";
import type { Journal } from "./journal/journal";
import type { Upload } from "./request/inputs";
import { isFunction, parseOptions, positive } from "./request/options";
import type { PollSchedule } from "./schedule/schedule";
import type { ImageJob } from "./types";
import type { CallOptions } from "./types/call-options";

/** How a client learns of ends by webhook. */
export interface WebhookOptions {
  /**
   * Where the provider shall post, at one that takes the address with the request; used where a
   * request names no `webhookUrl` of its own.
   */
  readonly url?: string;
  /**
   * Makes the tokens that go with such an address, so that a call of it can settle that one job
   * alone; for a provider that signs what it posts, the secret that it signs with.
   */
  readonly secret: string;
  /** Told of a job that a webhook has settled while nobody was waiting for it. What it throws is ignored. */
  readonly onSettled?: (job: ImageJob) => unknown;
  /** Milliseconds between polls while a webhook is expected: it may never come. Default 30,000. */
  readonly backstopMs?: number;
}

/** Options of {@link createImageClient}. */
export interface ImageClientOptions {
  /** Whose service it is, such as `trinetra()`. */
  readonly provider: Provider;
  /** Replaces the built-in transport. Not together with `dispatcher`. */
  readonly fetch?: typeof globalThis.fetch;
  /** Your own undici `Dispatcher`, of any version, called by its own `request` and never closed here. */
  readonly dispatcher?: RequestDispatcher;
  /** Milliseconds from the sending of a create until it is settled; waiting for a slot does not count. Default 600,000. */
  readonly timeoutMs?: number;
  /** Milliseconds for one poll, for a download's silence, and for a create that answers with a job. Default 60,000. */
  readonly attemptTimeoutMs?: number;
  /**
   * How many tasks of this client are at the provider at once; the rest wait in order. One that `submit`
   * has sent counts until this client learns its end (by a result, a `status()`, events or a webhook, of
   * a resumed job too), it is released, or `timeoutMs` have passed since its create; and no longer than it
   * can be asked after while others of its `submit` wait. Default: no limit.
   */
  readonly concurrency?: number;
  /**
   * Milliseconds between polls, or a schedule. Default: a `learnedSchedule()` of the client's own,
   * which polls a first job after some seconds and the next ones when they are likely to end. Jobs of a
   * provider on a loopback address, such as the sandbox's, are then polled from 20 ms on, after waits of
   * at most a quarter of their age.
   */
  readonly poll?: number | PollSchedule;
  /** What to do with a field that the provider cannot serve. Default `"error"`; `"omit"` leaves it out and warns. */
  readonly onUnsupported?: "error" | "omit";
  /** Puts bytes at a URL, for providers that take input images by URL alone. */
  readonly upload?: Upload;
  /** Hears what happens in every call. What it throws is ignored. */
  readonly onEvent?: CallOptions["onEvent"];
  /**
   * Where jobs outlive the process, such as `directoryJournal("./.images")`. With one, every create
   * is written down before it leaves, images are kept before `generate` resolves, and
   * `client.recover()` finds them again.
   */
  readonly journal?: Journal;
  /**
   * Whose money it is: records of one account are never given to a client of another. Required with
   * a journal where `apiKey` is a function. Default: what the API key says by itself, hashed, so that
   * two machines with the same key agree. An account that is named is also part of every
   * `idempotencyKey`: equal keys of two accounts are two jobs.
   */
  readonly account?: string;
  /** How to learn of ends by webhook, at a provider that posts them. Polling slows down and goes on. */
  readonly webhooks?: WebhookOptions;
  /** Lets result URLs lead to private addresses. Default false. */
  readonly allowPrivateNetwork?: boolean;
  /**
   * The largest response of the provider that is read, images as base64 and all, in bytes. Default 256 MiB.
   * Each image in it may be as large as `maxDownloadBytes`, and all else in it 2 MiB.
   */
  readonly maxAnswerBytes?: number;
  /** The largest image that is fetched, or read from a response, in bytes. Default 256 MiB. */
  readonly maxDownloadBytes?: number;
}

const accountTaken = "a name of 1 to 200 characters";

const mebibyte = 1024 * 1024;

/** An object that is told by one of its members: it may come of another copy of this package, or of undici. */
const having = <Value>(member: string, taken?: string) =>
  z.custom<Value>((value) => typeof value === "object" && value !== null && member in value, taken);

const concurrencyTaken = "a whole number of at least 1";

const pollTaken = "milliseconds, or a schedule with next()";

const webhooksSchema = () =>
  z.strictObject(
    {
      url: z.optional(z.url({ protocol: /^https?$/, error: "an http(s) URL" })),
      secret: z.string("at least 16 characters").check(z.minLength(16, "at least 16 characters")),
      onSettled: z.optional(z.custom<WebhookOptions["onSettled"]>(isFunction, "a function")),
      backstopMs: z._default(positive("milliseconds, more than 0"), 30_000),
    },
    "an object with a secret",
  );

const optionsSchema = once(() =>
  z
    .strictObject(
      {
        provider: having<Provider>("adapter", "a provider such as trinetra()"),
        fetch: z.optional(z.custom<typeof globalThis.fetch>(isFunction, "a function like fetch")),
        dispatcher: z.optional(having<RequestDispatcher>("request", "an undici Dispatcher")),
        timeoutMs: z._default(positive("milliseconds, more than 0"), 600_000),
        attemptTimeoutMs: z._default(positive("milliseconds, more than 0"), 60_000),
        concurrency: z._default(
          z.union(
            [
              z.int(concurrencyTaken).check(z.minimum(1, concurrencyTaken)),
              z.literal(Number.POSITIVE_INFINITY),
            ],
            concurrencyTaken,
          ),
          Number.POSITIVE_INFINITY,
        ),
        poll: z.optional(
          z.union(
            [z.number(pollTaken).check(z.minimum(0, pollTaken)), having<PollSchedule>("next")],
            pollTaken,
          ),
        ),
        onUnsupported: z._default(z.enum(["error", "omit"], '"error" or "omit"'), "error"),
        upload: z.optional(z.custom<Upload>(isFunction, "a function")),
        onEvent: z.optional(z.custom<CallOptions["onEvent"]>(isFunction, "a function")),
        journal: z.optional(having<Journal>("create", "a journal such as directoryJournal(path)")),
        account: z.optional(
          z
            .string(accountTaken)
            .check(z.minLength(1, accountTaken), z.maxLength(200, accountTaken)),
        ),
        webhooks: z.optional(webhooksSchema()),
        allowPrivateNetwork: z._default(z.boolean("true or false"), false),
        maxAnswerBytes: z._default(positive("bytes, more than 0"), 256 * mebibyte),
        maxDownloadBytes: z._default(positive("bytes, more than 0"), 256 * mebibyte),
      },
      "an object with a provider",
    )
    .check(
      z.refine((options) => options.fetch === undefined || options.dispatcher === undefined, {
        path: ["dispatcher"],
        message: "no `dispatcher` beside `fetch`",
      }),
      z.refine(
        ({ journal, account, provider }) =>
          journal === undefined || account !== undefined || !provider.hasApiKeyFunction,
        {
          path: ["account"],
          message:
            "a name for whose money it is, since `apiKey` is a function and there is a journal",
        },
      ),
    ),
);

/** A client's options, checked and with their defaults. */
export type ClientOptions = z.output<ReturnType<typeof optionsSchema>>;

/** Checks what a client is made of. */
export function parseClientOptions(given: ImageClientOptions): ClientOptions {
  return parseOptions(optionsSchema(), given, "options");
}
