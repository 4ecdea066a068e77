import { resolve } from "node:path";
import * as z from "zod/mini";
import { once } from "../async/lazy";
import { isPossibleHost } from "../http/host";
import { compiled } from "../parse/core-schemas";
import { isBlob, isBytes, isURL } from "../realm";
import type { ImageError } from "../types";
import type { Operation } from "../types/reference";
import { commonFields } from "./fields";
import { invalid, namesIn, problemsOf, withoutUndefined } from "./problems";

/** A word from a list that may grow: completion for what is known, any string for what comes. */
type Open<Word extends string> = Word | (string & {});

/** A file on this machine, made by `localFile(path)`: a value that no JSON from a stranger can be. */
export interface LocalFile {
  /** Where it is. */
  readonly path: string;
}

/** An image that loads its own bytes, such as one of an `ImageResult`; its URL serves where one is taken. */
export interface LoadableImage {
  readonly url?: string;
  bytes(): Promise<Uint8Array>;
}

/**
 * An image that goes in: an http(s) URL, a data URL, a `URL`, bytes (a `Buffer` is a `Uint8Array`),
 * a `Blob` or `File`, `localFile(path)`, or an image of an `ImageResult`.
 */
export type ImageInput = string | URL | Uint8Array | ArrayBuffer | Blob | LocalFile | LoadableImage;

/** What one provider alone takes, by provider: each adapter declares its own entry, and parses it strictly. */
export interface ProviderOptions {
  /** For ShortAPI. */
  readonly shortapi?: {
    /** Another model than the page's, such as a later one. */
    readonly model?: string;
  };
  /** For aigptimage. */
  readonly aigptimage?: {
    /** Another model than the page's, such as a later one. */
    readonly model?: string;
  };
  /** For Trinetra. */
  readonly trinetra?: {
    /** Another model than `gpt-image-2`; becomes the last part of the path. */
    readonly model?: string;
  };
  /** For `openai()` and `openaiCompatible()`; the latter also takes its own name, which goes first. */
  readonly openai?: {
    /** Fields that this endpoint alone takes, written into the body as they are. */
    readonly extraBody?: Readonly<Record<string, unknown>>;
  };
  /** For a provider of your own: what its adapter declares. Unknown names are refused. */
  readonly [provider: string]: object | undefined;
}

interface CommonRequest {
  /** What to draw, or what to change. The provider's own limit on its length is checked before anything is sent. */
  readonly prompt: string;
  /** How many images. Beyond what one native request yields it is split into tasks. Default 1. */
  readonly n?: number;
  /** `"auto"` or width and height in pixels, such as `"1536x1024"`. Not together with `aspectRatio` or `resolution`. */
  readonly size?: Open<"auto" | "1024x1024" | "1536x1024" | "1024x1536">;
  /** Width to height, such as `"3:2"`, or `"auto"`. */
  readonly aspectRatio?: Open<"auto" | "1:1" | "3:2" | "2:3" | "4:3" | "3:4" | "16:9" | "9:16">;
  /** How large, together with `aspectRatio`. */
  readonly resolution?: Open<"1K" | "2K" | "4K">;
  /** How much work goes into it; with most providers also how much it costs. */
  readonly quality?: Open<"low" | "medium" | "high" | "xhigh" | "max" | "auto">;
  /** Whether the background is see-through. */
  readonly background?: Open<"transparent" | "opaque" | "auto">;
  /** The file format to ask for. What came is in `image.info()`. */
  readonly outputFormat?: Open<"png" | "jpeg" | "webp" | "gif" | "svg">;
  /** 0 to 100, with `outputFormat` `"jpeg"` or `"webp"` only. */
  readonly outputCompression?: number;
  /** How strictly the content is moderated. */
  readonly moderation?: Open<"low" | "auto">;
  /** A stable id of your end user, for the provider's abuse monitoring. OpenAI's newer word for it is `safetyIdentifier`. */
  readonly user?: string;
  /** A stable id of your end user, hashed, by which OpenAI finds who breaks its rules. */
  readonly safetyIdentifier?: string;
  /**
   * The picture comes as a stream, where the provider streams: the connection is never silent for long,
   * which some proxies end, and each picture is a request of its own (`n` is split). Default false.
   */
  readonly stream?: boolean;
  /**
   * How many times the picture is shown before it is done, 1 to 3: each comes as an event of type
   * `"partial"`, to `onEvent`. Fewer may come. Implies `stream`. OpenAI bills 100 image output tokens for
   * each.
   */
  readonly partialImages?: 1 | 2 | 3;
  /** Where the provider shall POST the outcome, where it takes such an address with the request. */
  readonly webhookUrl?: string;
  /** What one provider alone takes. Entries for other built-in providers are left alone. */
  readonly providerOptions?: ProviderOptions;
}

/** A picture from words. The same for every provider. */
export interface GenerateRequest extends CommonRequest {
  /** Not here: a request with images is an {@link EditRequest}. */
  readonly images?: undefined;
  /** Not here: it says what to change in an edit. */
  readonly mask?: undefined;
}

/** A picture from pictures and words. The same for every provider. */
export interface EditRequest extends CommonRequest {
  /** The images to work from, at least one. */
  readonly images: readonly [ImageInput, ...ImageInput[]] | readonly ImageInput[];
  /** A PNG whose transparent parts say where to edit, of the size of the first image. */
  readonly mask?: ImageInput;
}

/** Either request; with `images` it is an edit. */
export type ImageRequest = GenerateRequest | EditRequest;

const localFileBrand = Symbol.for("gpt-image-client.localFile");

/**
 * A file on this machine as an input image, read when the request is sent.
 *
 * @example
 * ```ts
 * await client.edit({ prompt: "Make it snow", images: [localFile("street.jpg")] });
 * ```
 */
export function localFile(path: string): LocalFile {
  // Resolved at once: the working directory may be another by the time that it is read.
  return Object.freeze({ path: resolve(path), [localFileBrand]: true });
}

/** Whether a value came from {@link localFile}; JSON cannot forge it, since it has no symbols. */
export function isLocalFile(value: unknown): value is LocalFile {
  return typeof value === "object" && value !== null && localFileBrand in value;
}

/** Whether a value is a {@link LoadableImage}; JSON cannot forge it, since it has no functions. */
export function isLoadable(value: unknown): value is LoadableImage {
  const isObject = typeof value === "object" && value !== null && !isBlob(value);
  return isObject && "bytes" in value && typeof value.bytes === "function";
}

const inputTaken =
  "an http(s) or data URL, a URL, a Uint8Array, an ArrayBuffer, a Blob, localFile(path) or an image of a result (a path on this machine goes through localFile)";

const imageInput = z.custom<ImageInput>(
  (value) =>
    isURL(value)
      ? isFetchable(value.href)
      : typeof value === "string"
        ? isFetchable(value)
        : (isBytes(value) && value.byteLength > 0) ||
          (isBlob(value) && value.size > 0) ||
          isLocalFile(value) ||
          isLoadable(value),
  inputTaken,
);

function isFetchable(url: string): boolean {
  if (!/^https?:\/\/[^/]/i.test(url)) return /^data:[^,]*,./is.test(url);
  return URL.canParse(url) && isPossibleHost(new URL(url));
}

const generateSchema = once(() =>
  compiled(z.strictObject(commonFields(), "an object with a prompt")),
);
const editSchema = once(() =>
  compiled(
    z.strictObject(
      {
        ...commonFields(),
        images: z.array(imageInput, "a list of images").check(z.minLength(1, "at least one image")),
        mask: z.optional(imageInput),
      },
      "an object with a prompt and images",
    ),
  ),
);

/** A request that has been checked, with its operation. */
export interface ParsedRequest {
  readonly operation: Operation;
  readonly n: number;
  /** Every other field that was given, save the inputs. */
  readonly fields: Readonly<Record<string, unknown>> & { readonly prompt: string };
  readonly images: readonly ImageInput[];
  readonly mask?: ImageInput;
  readonly providerOptions: Readonly<Record<string, unknown>>;
}

/** Reads a request from a caller; every problem is found, each with its field. */
export function parseRequest(
  operation: Operation,
  value: unknown,
): { readonly request: ParsedRequest } | { readonly problems: readonly ImageError[] } {
  // An explicit undefined is a field that was not given, here as everywhere in JavaScript.
  const given = withoutUndefined(value);
  const schema = operation === "edit" ? editSchema() : generateSchema();
  const parsed = z.safeParse(schema, given);
  if (!parsed.success) {
    const names = namesIn(schema);
    const isMissing = ({ code }: z.core.$ZodIssue) => Number(code !== "unrecognized_keys");
    // First what has another name: that may be why something is missing.
    const issues = parsed.error.issues.toSorted((a, b) => isMissing(a) - isMissing(b));
    return { problems: issues.flatMap((issue) => problemsOf(issue, given, [], names)) };
  }
  const problems = relations(parsed.data);
  if (problems.length > 0) return { problems };
  const data: typeof parsed.data & Partial<Pick<ParsedRequest, "images" | "mask">> = parsed.data;
  const { n, providerOptions, images = [], mask, prompt } = data;
  const fields: Record<string, unknown> & { prompt: string } = { prompt };
  for (const [name, field] of Object.entries(data)) {
    // Not to stream is what every provider can do.
    if (!notFields.has(name) && field !== false) fields[name] = field;
  }
  const request = { operation, n, fields, providerOptions, images };
  return { request: mask === undefined ? request : { mask, ...request } };
}

/** What a request has beside its fields. */
const notFields = new Set(["n", "providerOptions", "images", "mask"]);

/** What no single field can say. */
function relations(data: z.output<ReturnType<typeof generateSchema>>): ImageError[] {
  const problems: ImageError[] = [];
  if (data.size !== undefined) {
    for (const field of ["aspectRatio", "resolution"] as const) {
      if (data[field] === undefined) continue;
      problems.push(invalid(field, data[field], `no \`${field}\` beside \`size\``));
    }
  }
  if (data.partialImages && data.stream === false) {
    problems.push(invalid("partialImages", data.partialImages, "`stream` true beside it"));
  }
  const compressed = data.outputFormat === "jpeg" || data.outputFormat === "webp";
  if (data.outputCompression !== undefined && !compressed) {
    problems.push(
      invalid(
        "outputCompression",
        data.outputCompression,
        '`outputFormat` "jpeg" or "webp" beside it',
      ),
    );
  }
  return problems;
}
