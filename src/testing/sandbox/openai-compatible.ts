import { randomBytes } from "node:crypto";
import * as z from "zod/mini";
import { dimensionsOfSize } from "./dimensions";
import { eventText, jsonResponse, type SandboxResponse } from "./http";
import type { Order, OrderStream, Sight } from "./jobs";
import { formatOf, hasAlpha, measure } from "./media";
import type { Part } from "./multipart";
import {
  type ApiRequest,
  bearerKey,
  check,
  jsonOf,
  messageOf,
  type Problem,
  type ProviderScript,
  Refusal,
} from "./script";
import type { SandboxOpenAIAnswers } from "./types";

/** OpenAI's rules for gpt-image-2; undefined when the size keeps to them. */
function sizeProblem(size: string): string | undefined {
  if (size === "auto") return undefined;
  const match = /^([1-9]\d{0,4})x([1-9]\d{0,4})$/.exec(size);
  if (match === null) return "must be auto or WIDTHxHEIGHT";
  const width = Number(match[1]);
  const height = Number(match[2]);
  if (width % 16 !== 0 || height % 16 !== 0) return "both edges must be multiples of 16";
  if (Math.max(width, height) > 3840) return "no edge may be longer than 3840 pixels";
  if (Math.max(width, height) > 3 * Math.min(width, height))
    return "the ratio must be between 1:3 and 3:1";
  const pixels = width * height;
  if (pixels < 655_360 || pixels > 8_294_400)
    return "there must be between 655,360 and 8,294,400 pixels";
  return undefined;
}

const size = z.string().check(
  z.superRefine((value, context) => {
    const message = sizeProblem(value);
    if (message !== undefined) context.addIssue({ code: "custom", message });
  }),
);

const common = {
  model: z.literal("gpt-image-2"),
  prompt: z.string().check(z.minLength(1), z.maxLength(32_000)),
  quality: z._default(z.enum(["low", "medium", "high", "auto"]), "auto"),
  background: z.optional(z.enum(["transparent", "opaque", "auto"])),
  output_format: z._default(z.enum(["png", "jpeg", "webp"]), "png"),
  moderation: z.optional(z.enum(["auto", "low"])),
  user: z.optional(z.string()),
  safety_identifier: z.optional(z.string()),
};

/** The page demands all four of model, prompt, size and n. */
const generationBody = z.strictObject({
  ...common,
  size,
  n: z.int().check(z.minimum(1), z.maximum(10)),
  output_compression: z.optional(z.int().check(z.minimum(0), z.maximum(100))),
  stream: z._default(z.boolean(), false),
  partial_images: z.optional(z.int().check(z.minimum(0), z.maximum(3))),
});

/** A number in a form is text, and has to look like a number. */
const formInteger = z.pipe(
  z.string().check(z.regex(/^\d+$/, "must be an integer")),
  z.transform(Number),
);

const editForm = z.strictObject({
  ...common,
  size: z._default(size, "auto"),
  n: z._default(z.pipe(formInteger, z.int().check(z.minimum(1), z.maximum(10))), 1),
  output_compression: z.optional(z.pipe(formInteger, z.int().check(z.minimum(0), z.maximum(100)))),
  stream: z._default(
    z.pipe(
      z.enum(["true", "false"]),
      z.transform((text) => text === "true"),
    ),
    false,
  ),
  partial_images: z.optional(z.pipe(formInteger, z.int().check(z.minimum(0), z.maximum(3)))),
});

type Parameters = z.output<typeof generationBody>;

function invalid(field: string, message: string): Refusal {
  return new Refusal({ status: 400, field, message });
}

const largestImageBytes = 50 * 1024 * 1024;

/** An upload is what its media type says, and one of the three that are taken. */
function checkImage({ name, mediaType, filename, bytes }: Part): void {
  const said = mediaType ?? "none";
  if (filename === undefined) throw invalid(name, `'${name}': must be a file with a file name.`);
  if (!["image/png", "image/jpeg", "image/webp"].includes(said))
    throw new Refusal({
      status: 400,
      field: name,
      code: "unsupported_file_mimetype",
      message: `Invalid file '${name}': unsupported mimetype ('${said}'). Supported are image/jpeg, image/png, and image/webp.`,
    });
  if (`image/${formatOf(bytes)}` !== said)
    throw invalid(name, `Invalid file '${name}': its bytes are not ${said}.`);
  if (bytes.byteLength > largestImageBytes)
    throw invalid(name, `Invalid file '${name}': it is larger than 50 MB.`);
}

function checkMask(mask: Part, firstImage: Part): void {
  checkImage(mask);
  if (mask.mediaType !== "image/png" || !hasAlpha(mask.bytes))
    throw invalid("mask", "'mask': must be a PNG with an alpha channel.");
  const [own, other] = [measure(mask.bytes), measure(firstImage.bytes)];
  if (own?.width !== other?.width || own?.height !== other?.height)
    throw invalid("mask", "'mask': must have the same size as the first image.");
}

interface Edit {
  readonly parameters: Parameters;
  readonly images: readonly [Part, ...Part[]];
}

function readForm(parts: readonly Part[]): Edit {
  const isImage = ({ name }: Part) => name === "image" || name === "image[]";
  const [first, ...rest] = parts.filter(isImage);
  if (first === undefined) throw invalid("image", "Missing required parameter: 'image'.");
  if (rest.length > 15) throw invalid("image", "'image': at most 16 images.");
  if (rest.length > 0 && [first, ...rest].some(({ name }) => name === "image"))
    throw invalid("image", "Duplicate parameter: 'image'. Use 'image[]' for several images.");
  for (const image of [first, ...rest]) checkImage(image);
  const [mask, ...masks] = parts.filter(({ name }) => name === "mask");
  if (masks.length > 0) throw invalid("mask", "Duplicate parameter: 'mask'.");
  if (mask) checkMask(mask, first);
  const fields = new Map<string, string>();
  for (const part of parts.filter((one) => !isImage(one) && one.name !== "mask")) {
    if (fields.has(part.name)) throw invalid(part.name, `Duplicate parameter: '${part.name}'.`);
    fields.set(part.name, part.bytes.toString("utf8"));
  }
  return {
    parameters: check(editForm, Object.fromEntries(fields), 400),
    images: [first, ...rest],
  };
}

const patchesAlongTheLongEdge = { low: 16, medium: 48, high: 96, auto: 48 } as const;

/** OpenAI's guide: "each partial image will incur an additional 100 image output tokens". */
const partialTokens = 100;

/** OpenAI's formula for one image. */
function tokensOfImage(width: number, height: number, patches: number): number {
  const short = Math.round((patches * Math.min(width, height)) / Math.max(width, height));
  return Math.ceil((patches * short * (2_000_000 + width * height)) / 4_000_000);
}

/**
 * The tokens of a request. Four characters to a text token, and inputs counted like outputs of
 * medium quality, are the sandbox's own estimates.
 */
function usageOf(parameters: Parameters, inputs: readonly Part[], images: number) {
  const { width, height } = dimensionsOfSize(parameters.size);
  const text_tokens = Math.ceil(parameters.prompt.length / 4);
  const image_tokens = inputs.reduce((sum, { bytes }) => {
    const pixels = measure(bytes);
    return sum + (pixels ? tokensOfImage(pixels.width || 1, pixels.height || 1, 48) : 0);
  }, 0);
  const tokens = tokensOfImage(width, height, patchesAlongTheLongEdge[parameters.quality]);
  const output_tokens = images * (tokens + partialTokens * (parameters.partial_images ?? 0));
  const input_tokens = text_tokens + image_tokens;
  return {
    total_tokens: input_tokens + output_tokens,
    input_tokens,
    output_tokens,
    input_tokens_details: { text_tokens, image_tokens },
  };
}

type Usage = ReturnType<typeof usageOf>;

/** US dollars for a million tokens: text in 5, image in 8, image out 30. */
function priceOf({ input_tokens_details: input, output_tokens }: Usage): number {
  const millionths = input.text_tokens * 5 + input.image_tokens * 8 + output_tokens * 30;
  return millionths / 1_000_000;
}

function refuse({ status, code, message, field, isUnknownField }: Problem): SandboxResponse {
  const type = status >= 500 ? "server_error" : "invalid_request_error";
  const codeByStatus: Readonly<Record<number, string>> = {
    401: "invalid_api_key",
    429: "rate_limit_exceeded",
  };
  const fieldCode = isUnknownField ? "unknown_parameter" : field ? "invalid_value" : null;
  const ownCode = code ?? codeByStatus[status] ?? fieldCode;
  return jsonResponse(status, {
    error: {
      message,
      type: status === 429 && code === undefined ? "requests" : type,
      param: field ?? null,
      code: ownCode,
    },
  });
}

function failureResponse({ failure }: Sight): SandboxResponse {
  if (!failure?.moderated)
    return refuse({ status: 500, message: messageOf(failure, ""), code: "server_error" });
  return jsonResponse(400, {
    error: {
      message:
        "Your request was rejected by the safety system. If you believe this is an error, contact support.",
      type: "image_generation_user_error",
      param: null,
      code: "moderation_blocked",
      moderation_details: {
        moderation_stage: failure.stage,
        categories: failure.categories,
      },
    },
  });
}

async function imagesResponse(
  sight: Sight,
  prompt: string,
  usage: Usage,
  answers: SandboxOpenAIAnswers,
): Promise<SandboxResponse> {
  const urls = answers === "url" || answers === "both" ? sight.urls() : [];
  const images = answers === "url" ? [] : await sight.images();
  const data = Array.from({ length: sight.count }, (_, index) => ({
    ...(urls[index] !== undefined && { url: urls[index] }),
    ...(images[index] && { b64_json: images[index].toString("base64") }),
    ...(answers !== "b64_json" && { revised_prompt: prompt }),
  }));
  const response = { created: Math.floor(sight.completedAt / 1000), data, usage };
  if (answers !== "wrapped") return jsonResponse(200, response);
  return jsonResponse(200, { success: true, code: "200", message: "success", data: response });
}

/** A stream of one picture. */
function streamOf(
  parameters: Parameters,
  inputs: readonly Part[],
  answers: SandboxOpenAIAnswers,
): OrderStream {
  const { size, quality, background = "auto", output_format, partial_images = 0 } = parameters;
  const what = inputs.length > 0 ? "image_edit" : "image_generation";
  const event = (type: string, data: object) => {
    const created_at = Math.floor(Date.now() / 1000);
    const about = { created_at, size, quality, background, output_format };
    return eventText(type, { type, ...data, ...about });
  };
  return {
    partials: partial_images,
    partial: (partial_image_index, image) =>
      event(`${what}.partial_image`, {
        b64_json: image.toString("base64"),
        partial_image_index,
      }),
    async end(sight) {
      if (sight.state === "failed") {
        const { body } = failureResponse(sight);
        return eventText("error", { type: "error", ...JSON.parse(String(body)) });
      }
      const [url] = answers === "url" || answers === "both" ? sight.urls() : [];
      const [image] = answers === "url" ? [] : await sight.images();
      return event(`${what}.completed`, {
        ...(url !== undefined && { url }),
        ...(image !== undefined && { b64_json: image.toString("base64") }),
        usage: usageOf(parameters, inputs, 1),
      });
    },
  };
}

function checkStream({ stream, partial_images, n }: Parameters): void {
  if (stream && n > 1) throw invalid("n", "'n': must be 1 when 'stream' is true.");
  if (!stream && partial_images !== undefined)
    throw invalid("partial_images", "'partial_images': only when 'stream' is true.");
}

function orderOf(
  parameters: Parameters,
  inputs: readonly Part[],
  answers: SandboxOpenAIAnswers,
): Order {
  checkStream(parameters);
  const { prompt, n, output_format, output_compression, background } = parameters;
  const firstInput = inputs[0]?.bytes;
  const usage = (images: number) => usageOf(parameters, inputs, images);
  return {
    prompt,
    count: n,
    ...dimensionsOfSize(parameters.size),
    format: output_format,
    transparent: background === "transparent" && output_format !== "jpeg",
    ...(output_compression !== undefined && { compression: output_compression }),
    ...(firstInput && { input: firstInput }),
    ...(parameters.stream && { stream: streamOf(parameters, inputs, answers) }),
    price: (images) => ({ amount: priceOf(usage(images)), unit: "USD" }),
    report: (sight) =>
      sight.state === "failed"
        ? failureResponse(sight)
        : imagesResponse(sight, prompt, usage(sight.count || n), answers),
  };
}

function readEdit({ body }: ApiRequest): Edit {
  if (body.kind === "multipart") return readForm(body.parts);
  if (body.kind === "none")
    throw new Refusal({ status: 400, message: "The request body is empty." });
  if (body.kind === "unreadable" && body.mediaType === "multipart/form-data")
    throw new Refusal({ status: 400, message: "The request body is not a valid form." });
  throw new Refusal({ status: 415, message: "Content-Type must be multipart/form-data." });
}

export const openaiCompatible: ProviderScript = {
  name: "openaiCompatible",
  prefixes: ["/openai/v1", "/openai/api/v1"],
  apiKey: "sandbox-key-of-openai",
  keyIn: bearerKey,
  route(method, path) {
    const exists = path === "/images/generations" || path === "/images/edits";
    return method === "POST" && exists ? { phase: "create" } : undefined;
  },
  newJobId: () => `request_${randomBytes(8).toString("hex")}`,
  read(request, { openaiAnswers }) {
    if (request.path === "/images/edits") {
      const { parameters, images } = readEdit(request);
      return orderOf(parameters, images, openaiAnswers);
    }
    return orderOf(check(generationBody, jsonOf(request), 400), [], openaiAnswers);
  },
  refuse,
  unauthorized: () => refuse({ status: 401, message: "Incorrect API key provided." }),
};
