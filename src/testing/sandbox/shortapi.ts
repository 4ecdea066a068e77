import { randomUUID } from "node:crypto";
import * as z from "zod/mini";
import { dimensionsOfSize } from "./dimensions";
import { jsonResponse, type SandboxResponse } from "./http";
import type { Order, Sight } from "./jobs";
import { bearerKey, check, isHttpUrl, jsonOf, messageOf, type ProviderScript } from "./script";
import type { SandboxJobState } from "./types";

/** 0 and 1 and everything from 3 on are seen in the field; the page states 2 alone. */
const statusOf: Readonly<Record<SandboxJobState, number>> = {
  queued: 0,
  running: 1,
  succeeded: 2,
  failed: 3,
};

const priceUsd = 0.06;

const textToImage = z.strictObject({
  model: z.literal("openai/gpt-image-2/text-to-image"),
  args: z.strictObject({
    prompt: z.string().check(z.minLength(1)),
    size: z.optional(z.enum(["1024x1024", "1536x1024", "1024x1536", "auto"])),
  }),
  // Any string: the page's own sample sends "CALLBACK_URL".
  callback_url: z.optional(z.string()),
});

const edit = z.strictObject({
  model: z.literal("openai/gpt-image-2/edit"),
  args: z.strictObject({
    prompt: z.string().check(z.minLength(1)),
    images: z
      .array(z.string().check(z.refine(isHttpUrl, "must be an http(s) URL")))
      .check(z.minLength(1), z.maxLength(16)),
  }),
  callback_url: z.optional(z.string()),
});

const createBody = z.discriminatedUnion("model", [textToImage, edit]);

function envelope(code: number, info: string, status = 200): SandboxResponse {
  return jsonResponse(status, { code, info, data: null });
}

function report(sight: Sight): SandboxResponse {
  const status = sight.unknownWord ?? statusOf[sight.state];
  if (sight.state === "succeeded") {
    const images = sight.urls().map((url) => ({ url }));
    return jsonResponse(200, { code: 0, data: { status, result: { images } } });
  }
  if (sight.state !== "failed") return jsonResponse(200, { code: 0, data: { status } });
  const error = messageOf(sight.failure, "The request was rejected by the safety system.");
  const refunded = sight.failure?.refunded === true;
  return jsonResponse(200, { code: 0, data: { status, error, ...(refunded && { refunded }) } });
}

function orderOf({ args, callback_url }: z.output<typeof createBody>): Order {
  return {
    prompt: args.prompt,
    count: 1,
    ...dimensionsOfSize("size" in args ? args.size : undefined),
    format: "png",
    ...("images" in args && args.images[0] !== undefined && { input: args.images[0] }),
    ...(callback_url !== undefined && { callbackUrl: callback_url }),
    price: () => ({ amount: priceUsd, unit: "USD" }),
    // The page's own figure, though the same page prices the request at 0.06.
    accepted: (jobId) => jsonResponse(200, { code: 0, data: { amount: "0.02", job_id: jobId } }),
    report,
  };
}

export const shortapi: ProviderScript = {
  name: "shortapi",
  prefixes: ["/shortapi"],
  apiKey: "sandbox-key-of-shortapi",
  keyIn: bearerKey,
  route(method, path, query) {
    if (method === "POST" && path === "/api/v1/job/create") return { phase: "create" };
    if (method !== "GET" || path !== "/api/v1/job/query") return undefined;
    const jobId = query.get("id") ?? "";
    return { phase: "poll", jobId, absent: () => envelope(404, `Job "${jobId}" was not found.`) };
  },
  newJobId: () => randomUUID(),
  // A field that is wrong is refused in HTTP 200; what is no readable JSON gets a plain 4xx.
  read: (request) => orderOf(check(createBody, jsonOf(request), 200)),
  refuse({ status, code, message, envelope: inEnvelope }) {
    const ownCode = typeof code === "number" ? code : status === 200 ? 400 : status;
    return envelope(ownCode, message, inEnvelope ? 200 : status);
  },
  unauthorized: () => envelope(401, "Invalid API key.", 401),
};
