import {
  type CallOptions,
  type EditRequest,
  type GenerateRequest,
  type ImageInput,
  InvalidRequestError,
} from "../../index";
import type {
  GenerateArguments,
  ImageModelOptions,
  InputFile,
  JSONObject,
  OwnArgument,
  Warning,
} from "./types";

/** Under what name options come in and metadata goes out. */
export const entryName = "gpt-image-client";

const field = `providerOptions["${entryName}"]`;

/** Which of the options belong to the call; every other belongs to the request, which knows its fields. */
const callNames: Readonly<Record<Exclude<keyof CallOptions, "signal">, true>> = {
  timeoutMs: true,
  saveTo: true,
  idempotencyKey: true,
  onSubmitted: true,
  onEvent: true,
  metadata: true,
  tags: true,
  retryRefused: true,
  detached: true,
};

/** Where `generateImage` itself takes what is no option. */
const ownArguments: Readonly<Record<OwnArgument, string>> = {
  prompt: "prompt",
  n: "n",
  size: "size",
  aspectRatio: "aspectRatio",
  images: "prompt.images",
  mask: "prompt.mask",
  signal: "abortSignal",
};

/** What a call of the SDK means to a client. */
export interface Order {
  readonly request: Omit<GenerateRequest, "images" | "mask">;
  /** Absent for a picture from words alone. */
  readonly inputs?: Pick<EditRequest, "images" | "mask">;
  readonly call: CallOptions;
  /** What is left out, whoever the provider is. */
  readonly warnings: readonly Warning[];
}

/**
 * Reads a call of the SDK. What a client checks is left to it.
 *
 * @throws {@link InvalidRequestError} for options that have no place.
 */
export function orderOf(given: GenerateArguments): Order {
  const { prompt, n, size, aspectRatio, files = [], mask, abortSignal: signal } = given;
  const { request, call } = optionsIn(given.providerOptions?.[entryName]);
  return {
    request: {
      ...request,
      // The SDK lets it be absent; the client says what it wants.
      prompt: prompt ?? "",
      n,
      ...(size !== undefined && { size }),
      ...(aspectRatio !== undefined && { aspectRatio }),
    },
    ...inputsOf(files, mask),
    call: { ...call, ...(signal !== undefined && { signal }) },
    warnings: warningsOf(given),
  };
}

/**
 * `providerOptions` for `generateImage`, typed: also what is no JSON, such as `onSubmitted`, which the
 * SDK's own type does not let in though it hands everything on as it is.
 *
 * @example
 * ```ts
 * await generateImage({
 *   model: imageModel(client),
 *   prompt,
 *   providerOptions: imageOptions({
 *     quality: "high",
 *     onSubmitted: (job) => db.save(order, job.reference),
 *   }),
 * });
 * ```
 */
export function imageOptions(options: ImageModelOptions): Record<typeof entryName, JSONObject> {
  // Its functions are no JSON: the SDK's types alone say that it must be.
  return { [entryName]: options as unknown as JSONObject };
}

function optionsIn(options: unknown) {
  if (options === undefined) return {};
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    const given = options === null ? "null" : Array.isArray(options) ? "a list" : typeof options;
    const taken = "an object of options";
    throw new InvalidRequestError({ charged: "no", field, given, taken });
  }
  const request: Record<string, unknown> = {};
  const call: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (isNameIn(ownArguments, name)) {
      throw new InvalidRequestError({
        ...{ charged: "no", field: `${field}.${name}`, isUnknown: true },
        taken: `it goes into \`generateImage\` itself, as \`${ownArguments[name]}\``,
      });
    }
    const place = isNameIn(callNames, name) ? call : request;
    place[name] = value;
  }
  return { request, call };
}

function isNameIn<Names extends object>(names: Names, name: PropertyKey): name is keyof Names {
  return Object.hasOwn(names, name);
}

function inputsOf(
  files: readonly InputFile[],
  mask: InputFile | undefined,
): Pick<Order, "inputs"> | undefined {
  // A mask without images is an edit that lacks them, and is told so.
  if (files.length === 0 && mask === undefined) return undefined;
  const images = files.map(inputOf);
  return { inputs: mask === undefined ? { images } : { images, mask: inputOf(mask) } };
}

/** An input as it comes. What is in it is told by its bytes: a data URL may have said anything. */
function inputOf(file: InputFile): ImageInput {
  if (file.type === "url") return file.url;
  const { data } = file;
  if (typeof data !== "string") return data;
  return data.startsWith("data:") ? data : Buffer.from(data, "base64");
}

function warningsOf({ seed, headers = {}, providerOptions = {} }: GenerateArguments): Warning[] {
  const warnings: Warning[] = [];
  const warn = (feature: string, details: string) =>
    warnings.push({ type: "unsupported", feature, details });
  if (seed !== undefined) warn("seed", "No provider of GPT Image 2 takes a seed.");
  // The SDK itself always sends `user-agent`. The names alone: a value may be a key.
  const names = Object.keys(headers).filter(
    (name) => headers[name] !== undefined && name.toLowerCase() !== "user-agent",
  );
  if (names.length > 0) {
    warn("headers", `Not sent: ${names.join(", ")}. Give them to the provider of the client.`);
  }
  for (const name of Object.keys(providerOptions)) {
    if (name === entryName) continue;
    warn(`providerOptions.${name}`, `Not read: this model's own stand in ${field}.`);
  }
  return warnings;
}
