import { randomBytes } from "node:crypto";
import * as z from "zod/mini";
import { dimensionsOfRatio } from "./dimensions";
import { jsonResponse, type SandboxResponse } from "./http";
import type { Order, Sight } from "./jobs";
import { check, isHttpUrl, jsonOf, messageOf, type ProviderScript, Refusal } from "./script";
import type { SandboxJobState } from "./types";

/** The page knows queued and succeeded; the other two are a guess, as everybody's must be. */
const statusOf: Readonly<Record<SandboxJobState, string>> = {
  queued: "queued",
  running: "processing",
  succeeded: "succeeded",
  failed: "failed",
};

/** Credits an image; `auto` has no price on the page and is taken for medium. */
const creditsOf = { low: 3, medium: 7, high: 14, auto: 7 } as const;

const createBody = z.strictObject({
  prompt: z.string().check(z.minLength(1)),
  aspect_ratio: z.optional(
    z.string().check(z.regex(/^(auto|[1-9]\d{0,3}:[1-9]\d{0,3})$/, "must be a ratio such as 16:9")),
  ),
  quality: z._default(z.enum(["low", "medium", "high", "auto"]), "medium"),
  n: z._default(z.int().check(z.minimum(1), z.maximum(4)), 1),
  background: z.optional(z.enum(["transparent", "opaque", "auto"])),
  output_format: z._default(z.enum(["png", "jpeg", "webp"]), "png"),
  output_compression: z.optional(z.int().check(z.minimum(0), z.maximum(100))),
  moderation: z.optional(z.enum(["low", "auto"])),
  user: z.optional(z.string()),
  image_url: z.optional(z.string().check(z.refine(isHttpUrl, "must be an http(s) URL"))),
});

/** No page documents the form of an error; this is the commonest. */
function problemResponse(status: number, code: string | number, message: string): SandboxResponse {
  return jsonResponse(status, { error: { code, message } });
}

function report(order: Order, sight: Sight): SandboxResponse {
  const job = {
    id: sight.jobId,
    model: "gpt-image-2",
    status: sight.unknownWord ?? statusOf[sight.state],
  };
  if (sight.state === "succeeded") {
    const outputs = sight.urls().map((url) => ({ url, type: "image" }));
    const credits_charged = order.price(sight.count || order.count).amount;
    return jsonResponse(200, { ...job, output: { outputs }, credits_charged });
  }
  if (sight.state !== "failed") return jsonResponse(200, job);
  const message = messageOf(sight.failure, "The request was rejected by the moderation system.");
  const code = sight.failure?.moderated ? "moderation_blocked" : "generation_failed";
  return jsonResponse(200, { ...job, error: { code, message }, credits_charged: 0 });
}

function orderOf(body: z.output<typeof createBody>): Order {
  const order: Order = {
    prompt: body.prompt,
    count: body.n,
    ...dimensionsOfRatio(body.aspect_ratio),
    format: body.output_format,
    transparent: body.background === "transparent" && body.output_format !== "jpeg",
    ...(body.output_compression !== undefined && { compression: body.output_compression }),
    ...(body.image_url !== undefined && { input: body.image_url }),
    price: (images) => ({ amount: creditsOf[body.quality] * images, unit: "credits" }),
    accepted: (jobId) => jsonResponse(202, { job_id: jobId, status: "queued" }),
    report: (sight) => report(order, sight),
  };
  return order;
}

export const trinetra: ProviderScript = {
  name: "trinetra",
  prefixes: ["/trinetra"],
  apiKey: "sandbox-key-of-trinetra",
  keyIn(headers) {
    const key = headers["x-api-key"];
    return typeof key === "string" ? key : undefined;
  },
  route(method, path) {
    if (method === "POST" && path === "/v1/image/gpt-image-2") return { phase: "create" };
    const jobId = /^\/v1\/jobs\/([^/]*)$/.exec(path)?.[1];
    if (method !== "GET" || jobId === undefined) return undefined;
    const absent = () => problemResponse(404, "not_found", `Job "${jobId}" was not found.`);
    return { phase: "poll", jobId, absent };
  },
  newJobId: () => `job_gptimage2_${randomBytes(8).toString("hex")}`,
  read(request) {
    const body = check(createBody, jsonOf(request), 400);
    if (body.output_compression !== undefined && body.output_format === "png")
      throw new Refusal({
        status: 400,
        field: "output_compression",
        message: "'output_compression': only for jpeg and webp.",
      });
    return orderOf(body);
  },
  refuse: ({ status, code, message }) => problemResponse(status, code ?? status, message),
  unauthorized: () => problemResponse(401, "unauthorized", "Invalid API key."),
};
