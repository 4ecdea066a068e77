import * as z from "zod/mini";
import { createImageClient, type ImageClient } from "../client";
import type { Cost } from "../cost";
import { ProviderUnavailableError } from "../errors";
import { DecodedImage, MemorySink } from "../media/decoded-image";
import {
  type Adapter,
  createProvider,
  defineOperation,
  type Outcome,
  type Task,
} from "../provider";
import type { ImageRequest } from "../request/request";
import type { ImageError } from "../types";
import type { CallOptions } from "../types/call-options";
import type { Operation } from "../types/reference";
import { checkNames } from "./names";
import { plainPng } from "./sandbox/png";

/** What a fake client shall do. */
export interface FakeImageClientOptions {
  /** Its name, as a provider's. Default `"fake"`. */
  readonly name?: string;
  /** The pictures it gives, one after another and then from the first again. Default: a small PNG. */
  readonly images?: readonly [Uint8Array, ...Uint8Array[]];
  /** What each image costs; default nothing said. */
  readonly cost?: Cost;
  /** How long a job takes, in milliseconds. Default 0. */
  readonly delayMs?: number;
  /** The error to throw: always, or as a function of the request says. */
  readonly error?: ImageError | ((request: ImageRequest) => ImageError | undefined);
}

const optionNames: Readonly<Record<keyof FakeImageClientOptions, true>> = {
  ...{ name: true, images: true, cost: true, delayMs: true, error: true },
};

/** A call that a fake client was given. */
export interface FakeCall {
  readonly operation: Operation;
  readonly request: ImageRequest;
  readonly options: CallOptions | undefined;
}

/** An `ImageClient` that remembers what it was asked. */
export interface FakeImageClient extends ImageClient {
  /** Every `generate`, `edit` and `submit`, in order. */
  readonly calls: readonly FakeCall[];
}

/**
 * An `ImageClient` without sockets, for the tests of your own app: canned pictures, or the error you
 * ask for. Requests are checked as everywhere, and jobs, events, partial images (each is the picture
 * itself) and `saveTo` work as they do against a real provider, since all but the network is the real thing.
 *
 * @throws {TypeError} for an option that there is not.
 *
 * @example
 * ```ts
 * const client = fakeImageClient({ error: new ModerationError({ charged: "no" }) });
 * await expect(handler(client)).rejects.toMatchObject({ code: "moderation" });
 * ```
 */
export function fakeImageClient(options: FakeImageClientOptions = {}): FakeImageClient {
  checkNames(options, Object.keys(optionNames));
  const calls: FakeCall[] = [];
  const { name = "fake", delayMs = 0 } = options;
  const provider = createProvider(adapterOf(name, options), {
    baseURL: fakeOrigin,
    apiKey: "fake-key",
  });
  const client = createImageClient({
    provider,
    fetch: memoryService(delayMs),
    poll: Math.min(1_000, delayMs / 5),
    // Input URLs are answered from memory, so that none is looked up.
    allowPrivateNetwork: true,
  });
  const errorFor = (request: ImageRequest) =>
    typeof options.error === "function" ? options.error(request) : options.error;
  const remember = async (call: FakeCall) => {
    calls.push(call);
    if (typeof globalThis.Response !== "function") throw withoutResponse(name);
    const error = errorFor(call.request);
    if (error !== undefined) throw error;
  };
  return {
    name,
    calls,
    capabilities: client.capabilities,
    check: (request) => client.check(request),
    estimate: (request) => client.estimate(request),
    async generate(request, callOptions) {
      await remember({ operation: "generate", request, options: callOptions });
      return client.generate(request, callOptions);
    },
    async edit(request, callOptions) {
      await remember({ operation: "edit", request, options: callOptions });
      return client.edit(request, callOptions);
    },
    async submit(request, callOptions) {
      const operation = request.images === undefined ? "generate" : "edit";
      await remember({ operation, request, options: callOptions });
      return client.submit(request, callOptions);
    },
    resume: (reference) => client.resume(reference),
    close: (closeOptions) => client.close(closeOptions),
    [Symbol.asyncDispose]: () => client.close(),
  };
}

/** Said at once: a call that finds none would be repeated until its time is up. */
function withoutResponse(provider: string): ProviderUnavailableError {
  const detail =
    "The fake client answers with the global `Response` of Node, which is missing here: jsdom has " +
    'none, so run these tests in the environment "node"';
  return new ProviderUnavailableError({ provider, charged: "no", transient: false, detail });
}

const fakeOrigin = "https://fake.invalid";
const defaultImage = plainPng(64, 64, [94, 129, 172], [163, 190, 140]);

const word = z.optional(z.string());

const parameters = z.strictObject({
  prompt: z.string(),
  size: word,
  quality: word,
  background: word,
  outputFormat: word,
  outputCompression: z.optional(z.number()),
  moderation: word,
  user: word,
  safetyIdentifier: word,
  stream: z.optional(z.boolean()),
  partialImages: z.optional(z.number()),
  webhookUrl: word,
});

const partialSchema = z.object({ index: z.number() });

const responseSchema = z.object({ id: z.string(), state: z.enum(["running", "succeeded"]) });

function adapterOf(name: string, options: FakeImageClientOptions): Adapter {
  const { images = [defaultImage], cost } = options;
  const counts = new Map<string, number>();
  let next = 0;
  const operation = {
    parameters,
    options: z.strictObject({}),
    maxImagesPerTask: 10,
    dimensions: { by: "size", sizes: () => undefined, auto: true },
    price: (_: unknown, n: number) =>
      cost === undefined ? undefined : { ...cost, amount: cost.amount * n, basis: "list" as const },
  } as const;
  const create = ({ n, key, parameters: { partialImages } }: FakeTask) => {
    counts.set(key, n);
    return { method: "POST", path: "/jobs", body: { json: { id: key, partialImages } } } as const;
  };
  return {
    name,
    authorize: (apiKey) => ({ authorization: apiKey }),
    answersWith: "job",
    idempotent: true,
    isPartial: (type) => type === "partial",
    readPartial(event) {
      const { index } = partialSchema.parse(event);
      // The one that the job will give, as if it were not done.
      return { index, base64: asItIs(images[next % images.length] ?? images[0]) };
    },
    operations: {
      generate: defineOperation({ ...operation, create }),
      edit: defineOperation({
        ...operation,
        inputs: { as: "bytes", maxCount: 16, mask: true },
        create,
      }),
    },
    query: (id) => ({ method: "GET", path: `/jobs/${encodeURIComponent(id)}` }),
    read(phase, { body }): Outcome {
      const { id, state } = responseSchema.parse(body);
      if (phase === "create") return { state: "queued", id, word: "queued", known: true };
      if (state === "running") return { state, word: state, known: true };
      const n = counts.get(id) ?? 1;
      const outputs = Array.from({ length: n }, () => {
        const image = images[next % images.length] ?? images[0];
        next += 1;
        return { base64: asItIs(image) };
      });
      const paid = cost === undefined ? undefined : { ...cost, amount: cost.amount * n };
      return { state, outputs, cost: paid };
    },
  };
}

type FakeTask = Task<z.output<typeof parameters>>;

/** A picture that nobody looks into: a stub of a few bytes is enough for a test, and lacks its end. */
function asItIs(image: Uint8Array): DecodedImage {
  const sink = new MemorySink(image.byteLength);
  sink.reserve(image.byteLength).set(image);
  sink.commit(image.byteLength);
  return new DecodedImage(sink, image.byteLength, image.slice(0, 64));
}

const orderSchema = z.object({ id: z.string(), partialImages: z.optional(z.number()) });

/** The other end of the fake: jobs in a map, answered as JSON. */
function memoryService(delayMs: number): typeof globalThis.fetch {
  const doneAt = new Map<string, number>();
  return async (input, init) => {
    if (init?.method === "POST") {
      const { id, partialImages = 0 } = orderSchema.parse(JSON.parse(String(init.body)));
      if (!doneAt.has(id)) doneAt.set(id, Date.now() + delayMs);
      const accepted = { id, state: "running" };
      if (partialImages === 0) return Response.json(accepted);
      const shown = Array.from({ length: partialImages }, (_, index) => ({
        type: "partial",
        index,
      }));
      const events = [...shown, accepted].map((event) => `data: ${JSON.stringify(event)}\n\n`);
      return new Response(events.join(""));
    }
    const { pathname, origin } = new URL(String(input));
    if (origin !== fakeOrigin) return new Response(defaultImage);
    const id = decodeURIComponent(pathname.split("/").at(-1) ?? "");
    // A job of another fake client is one that ended long ago.
    const running = Date.now() < (doneAt.get(id) ?? 0);
    return Response.json({ id, state: running ? "running" : "succeeded" });
  };
}
