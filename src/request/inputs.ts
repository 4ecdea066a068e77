import type { ImageFile, InputRule } from "../adapter/contract";
import { UnsupportedError } from "../errors";
import { shown } from "../parse/shown";
import { type ImageBytes, isURL } from "../realm";
import type { ImageError } from "../types";
import { type ImageInput, isLoadable } from "./request";

/** Puts bytes where a provider can fetch them, and gives the URL. */
export type Upload = (image: UploadedImage) => string | URL | Promise<string | URL>;

/** What `upload` is handed. */
export interface UploadedImage {
  readonly bytes: ImageBytes;
  readonly mediaType: string;
  readonly fileName: string;
}

/** The input images in the form that the provider takes. */
export interface ResolvedInputs {
  readonly imageUrls: readonly string[];
  readonly imageFiles: readonly ImageFile[];
  readonly mask?: ImageFile;
}

/** What decides whether an input is taken. */
export interface InputContext {
  readonly provider: string;
  readonly rule: InputRule;
  /** The provider's own, which may be reached by plain http. */
  readonly trustedOrigin: string;
  readonly upload: Upload | undefined;
}

/** An input, and what it is called in the request. */
export type Named = { readonly field: string; readonly input: ImageInput };

/** The images by their names. */
export function named(images: readonly ImageInput[]): Named[] {
  return images.map((input, index) => ({ field: `images[${index}]`, input }));
}

/** What is wrong with the inputs, as far as that is seen without reading them. */
export function inputProblems(
  images: readonly ImageInput[],
  mask: ImageInput | undefined,
  { provider, rule, trustedOrigin, upload }: InputContext,
): ImageError[] {
  const problems: ImageError[] = [];
  const unsupported = (field: string, given: string, taken: string) =>
    problems.push(new UnsupportedError({ provider, charged: "no", field, given, taken }));
  if (images.length > rule.maxCount) {
    const most = rule.maxCount === 1 ? "one image" : `at most ${rule.maxCount} images`;
    unsupported("images", `a list of ${images.length}`, most);
  }
  if (mask !== undefined && !(rule.mask && rule.as === "bytes")) {
    unsupported("mask", shown("mask", mask), "no mask (say in the prompt what is to change)");
  }
  if (rule.as === "bytes") return problems;
  for (const { field, input } of named(images)) {
    const url = webUrl(input);
    if (url === undefined) {
      if (upload !== undefined) continue;
      const taken =
        "an http(s) URL (or give createImageClient an `upload` function that puts bytes at one)";
      unsupported(field, shown(field, input), taken);
    } else if (rule.httpsOnly && url.protocol !== "https:" && url.origin !== trustedOrigin) {
      unsupported(field, shown(field, url.href), "a public https URL");
    }
  }
  return problems;
}

/** The URL that an input is, unless it holds its bytes itself. */
export function webUrl(input: ImageInput): URL | undefined {
  if (isLoadable(input)) {
    const { url } = input;
    // One without a URL that anybody could fetch has its bytes.
    return url !== undefined && /^https?:/i.test(url) && URL.canParse(url)
      ? new URL(url)
      : undefined;
  }
  if (typeof input !== "string" && !isURL(input)) return undefined;
  const url = new URL(input);
  return url.protocol === "data:" ? undefined : url;
}
