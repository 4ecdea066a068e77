import { randomUUID } from "node:crypto";
import * as z from "zod/mini";
import { dimensionsOfRatio, type Resolution } from "./dimensions";
import { jsonResponse, type SandboxResponse } from "./http";
import type { Order, Sight } from "./jobs";
import type { PictureFormat } from "./media";
import { bearerKey, check, isPublicUrl, jsonOf, messageOf, type ProviderScript } from "./script";
import type { SandboxJobState } from "./types";

/** The page knows waiting, success and fail; `generating` is its relatives' word. */
const stateOf: Readonly<Record<SandboxJobState, string>> = {
  queued: "waiting",
  running: "generating",
  succeeded: "success",
  failed: "fail",
};

/** Invented: the page says only that the resolution decides what is billed. */
const creditsOf: Readonly<Record<Resolution, number>> = { "1K": 4, "2K": 8, "4K": 16 };

const input = z.strictObject({
  prompt: z.string().check(z.minLength(1), z.maxLength(20_000)),
  aspect_ratio: z.optional(
    z
      .string()
      .check(z.regex(/^(auto|[1-9]\d{0,3}:[1-9]\d{0,3})$/, "must be auto or a ratio such as 16:9")),
  ),
  resolution: z.optional(z.enum(["1K", "2K", "4K"])),
  quality: z.optional(z.string()),
  output_format: z.optional(z.string()),
});

const createBody = z.discriminatedUnion("model", [
  z.strictObject({ model: z.literal("gpt-image-2-text-to-image"), input }),
  z.strictObject({
    model: z.literal("gpt-image-2-image-to-image"),
    input: z.extend(input, {
      input_urls: z
        .array(z.string().check(z.refine(isPublicUrl, "must be a public https URL")))
        .check(z.minLength(1)),
    }),
  }),
]);

type CreateBody = z.output<typeof createBody>;

/** The format is passed through with no promise: a word that the backend does not know yields PNG. */
function formatOf(word = "png"): PictureFormat {
  const format = word.toLowerCase().replace(/^jpg$/, "jpeg");
  return format === "jpeg" || format === "webp" ? format : "png";
}

function envelope(
  code: number,
  msg: string,
  status: number,
  data: unknown = null,
): SandboxResponse {
  return jsonResponse(status, { code, msg, data });
}

function report(body: CreateBody, sight: Sight): SandboxResponse {
  const { state, failure } = sight;
  const isOver = state === "succeeded" || state === "failed";
  const failMsg = messageOf(
    failure,
    "Your request was rejected: the prompt may violate OpenAI's content policies.",
  );
  return envelope(200, "success", 200, {
    taskId: sight.jobId,
    model: body.model,
    state: sight.unknownWord ?? stateOf[state],
    param: JSON.stringify(body),
    resultJson: state === "succeeded" ? JSON.stringify({ resultUrls: sight.urls() }) : null,
    failCode: state === "failed" ? (failure?.moderated ? "400" : "500") : null,
    failMsg: state === "failed" ? failMsg : null,
    costTime: isOver ? sight.completedAt - sight.createdAt : null,
    completeTime: isOver ? sight.completedAt : null,
    createTime: sight.createdAt,
  });
}

function orderOf(body: CreateBody, requestId: string | undefined): Order {
  const { prompt, aspect_ratio, resolution = "1K", output_format } = body.input;
  const firstInput = "input_urls" in body.input ? body.input.input_urls[0] : undefined;
  return {
    prompt,
    count: 1,
    ...dimensionsOfRatio(aspect_ratio, resolution),
    format: formatOf(output_format),
    ...(firstInput !== undefined && { input: firstInput }),
    ...(requestId !== undefined && { idempotencyKey: requestId }),
    price: () => ({ amount: creditsOf[resolution], unit: "credits" }),
    accepted: (taskId) => envelope(200, "success", 200, { taskId }),
    report: (sight) => report(body, sight),
  };
}

function absent(taskId: string, isYoung: boolean): SandboxResponse {
  if (isYoung) return envelope(422, "recordInfo is null", 422);
  return envelope(404, `Task "${taskId}" was not found`, 404);
}

/** The figures that stand beside `retryAfter`. */
const rateLimit = { limit: 20, tier: "free", windowSeconds: 60 };

export const aigptimage: ProviderScript = {
  name: "aigptimage",
  prefixes: ["/aigptimage"],
  apiKey: "sandbox-key-of-aigptimage",
  keyIn: bearerKey,
  route(method, path, query) {
    if (method === "POST" && path === "/api/v1/jobs/createTask") return { phase: "create" };
    if (method !== "GET" || path !== "/api/v1/jobs/recordInfo") return undefined;
    const jobId = query.get("taskId") ?? "";
    return { phase: "poll", jobId, absent: (isYoung) => absent(jobId, isYoung) };
  },
  newJobId: () => randomUUID(),
  read(request) {
    const requestId = request.headers["x-request-id"];
    const body = check(createBody, jsonOf(request), 422);
    return orderOf(body, typeof requestId === "string" ? requestId : undefined);
  },
  refuse({ status, code, message, envelope: inEnvelope, retryAfterSeconds }) {
    const ownCode = typeof code === "number" ? code : status;
    const data =
      retryAfterSeconds === undefined ? null : { retryAfter: retryAfterSeconds, ...rateLimit };
    return envelope(ownCode, message, inEnvelope ? 200 : status, data);
  },
  unauthorized: () => envelope(401, "Authentication failed or API key is invalid", 401),
};
