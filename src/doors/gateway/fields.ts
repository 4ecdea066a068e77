import { createHash } from "node:crypto";
import type { EditRequest, GenerateRequest, ImageInput } from "../../index";
import { GatewayFault, wrongField } from "./faults";

/** What came in a body: fields by OpenAI's names, and files. */
export interface Form {
  readonly fields: ReadonlyMap<string, unknown>;
  readonly images: readonly ImageInput[];
  readonly mask?: ImageInput | undefined;
}

/** What is bought. */
export type Purchase =
  | { readonly operation: "generate"; readonly request: GenerateRequest }
  | { readonly operation: "edit"; readonly request: EditRequest };

/** What a request asks for. */
export type ParsedRequest = Purchase & {
  readonly model: string | undefined;
  readonly stream: boolean;
  readonly partialImages: 0 | 1 | 2 | 3;
  /** Whether the provider's URLs are wanted beside the bytes. */
  readonly wantsUrls: boolean;
  /** Of its caller, as `authorize` has said. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /** What tells one request from another: the path and the fields, however they were written down. */
  readonly digest: string;
};

/** How a field is called in a request, and what it is. */
const requestFields: Readonly<Record<string, readonly [keyof GenerateRequest, Kind]>> = {
  prompt: ["prompt", "text"],
  n: ["n", "number"],
  size: ["size", "text"],
  quality: ["quality", "text"],
  background: ["background", "text"],
  output_format: ["outputFormat", "text"],
  output_compression: ["outputCompression", "number"],
  moderation: ["moderation", "text"],
  user: ["user", "text"],
  safety_identifier: ["safetyIdentifier", "text"],
};

const ownFields: Readonly<Record<string, Kind>> = {
  model: "text",
  stream: "boolean",
  partial_images: "number",
  response_format: "text",
};

type Kind = "text" | "number" | "boolean";

const noun = { text: "a string", number: "a number", boolean: "true or false" } as const;

/**
 * Reads a form.
 *
 * @throws {@link GatewayFault} naming the field that is wrong or that nobody knows.
 */
export function parseRequest(
  operation: ParsedRequest["operation"],
  { fields, images, mask }: Form,
): ParsedRequest {
  const request: Record<string, unknown> = {};
  const own: Record<string, unknown> = {};
  for (const [name, value] of fields) {
    const known = Object.hasOwn(requestFields, name) ? requestFields[name] : undefined;
    if (known !== undefined) request[known[0]] = readValue(name, known[1], value);
    else if (Object.hasOwn(ownFields, name)) own[name] = readValue(name, ownFields[name], value);
    else throw unknownField(name, value);
  }
  const partialImages = ([0, 1, 2, 3] as const).find((each) => each === (own.partial_images ?? 0));
  if (partialImages === undefined) {
    throw wrongField("partial_images", "partial_images takes 0 to 3.");
  }
  const format = own.response_format;
  if (format !== undefined && format !== "b64_json" && format !== "url") {
    throw wrongField("response_format", "response_format takes b64_json or url.");
  }
  return Object.assign(purchaseOf(operation, { prompt: "", ...request }, { images, mask }), {
    model: typeof own.model === "string" ? own.model : undefined,
    stream: own.stream === true,
    partialImages,
    wantsUrls: format === "url",
    digest: digestOf(operation, { fields, images, mask }),
  });
}

/** Each field is of its kind, and what it says is checked by the client. */
function purchaseOf(
  operation: ParsedRequest["operation"],
  request: Omit<GenerateRequest, "images" | "mask">,
  { images, mask }: Pick<Form, "images" | "mask">,
): Purchase {
  const [first, ...rest] = images;
  if (operation === "edit") {
    if (first === undefined) throw wrongField("image", "An edit takes at least one image.");
    const edit: EditRequest = { ...request, images: [first, ...rest] };
    return { operation, request: mask === undefined ? edit : { ...edit, mask } };
  }
  const param = first !== undefined ? "image" : mask !== undefined ? "mask" : undefined;
  if (param === undefined) return { operation, request };
  throw wrongField(param, `A generation takes no ${param}: send it to /images/edits.`);
}

function unknownField(name: string, value: unknown): GatewayFault {
  const isFile = /^(image|mask)\b/.test(name) && typeof value === "string";
  const message = isFile
    ? `${name} is no file: wrap it in toFile(bytes, name, { type }).`
    : `Unknown parameter: '${name}'.`;
  return new GatewayFault(400, "unknown_parameter", message, { param: name });
}

/** A form has text alone, and its numbers are written out. */
function readValue(name: string, kind: Kind | undefined, value: unknown): unknown {
  if (kind === "number") {
    const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
    if (typeof number === "number" && Number.isFinite(number)) return number;
  } else if (kind === "boolean") {
    if (typeof value === "boolean") return value;
    if (value === "true" || value === "false") return value === "true";
  } else if (typeof value === "string") {
    return value;
  }
  throw wrongField(name, `${name} takes ${noun[kind ?? "text"]}.`);
}

/** `null` means absent: front ends send every field that they know. */
export function formOf(body: unknown): Form {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new GatewayFault(400, "invalid_json", "The body is no JSON object.");
  }
  const { image, images, mask, ...rest } = Object.fromEntries(
    Object.entries(body).filter(([, value]) => value !== null && value !== undefined),
  );
  return {
    fields: new Map(Object.entries(rest)),
    images: [image, images]
      .flat()
      .flatMap((each) => (each === undefined ? [] : addressOf("image", each))),
    mask: mask === undefined ? undefined : addressOf("mask", mask),
  };
}

/** An image in JSON is an address: a string never names a file of this machine. */
function addressOf(param: string, value: unknown): string {
  const url =
    typeof value === "object" && value !== null && "image_url" in value ? value.image_url : value;
  if (typeof url === "string" && /^(https?:\/\/|data:)/i.test(url)) return url;
  throw wrongField(param, `${param} in JSON is an http(s) or a data URL; files come in a form.`);
}

function digestOf(operation: string, { fields, images, mask }: Form): string {
  const hash = createHash("sha256");
  const sorted = [...fields].sort(([one], [other]) => (one < other ? -1 : 1));
  // Numbers and booleans of a form are text: the same order, however it was written down.
  const told = sorted.map(([name, value]) => [
    name,
    typeof value === "object" ? value : `${value}`,
  ]);
  hash.update(JSON.stringify([operation, told, images.length]));
  for (const each of [...images, ...(mask === undefined ? [] : [mask])]) {
    const bytes = typeof each === "string" ? Buffer.from(each) : each;
    // Files are bytes here; each goes in with its length, so that no two lists look like one.
    if (!(bytes instanceof Uint8Array)) throw new TypeError("An input is neither text nor bytes");
    hash.update(`\n${bytes.byteLength}\n`).update(bytes);
  }
  return hash.digest("hex");
}
