import { DownloadError, MalformedResponseError, reasonOf } from "../errors";
import { DownloadFault } from "../http/faults";
import { DecodedImage } from "../media/decoded-image";
import { looksLikeText, sniff } from "../media/format";
import { ImageInspection } from "../media/image-inspection";
import { ownBytes } from "../media/own-bytes";
import type { ImageBytes } from "../realm";
import { withoutStops } from "../sentences";
import type { ErrorFacts } from "../types";

/** An image that came in base64: in memory, or wherever its sink has it. */
export type Decoded = ImageBytes | DecodedImage;

export function decodedOf(base64: string): ImageBytes {
  // `Buffer.from` takes small ones from the pool.
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(base64, "base64"));
  return ownBytes(bytes.subarray(0, bytes.write(base64, "base64")));
}

export function isTruncated(decoded: Decoded): boolean {
  return decoded instanceof DecodedImage
    ? decoded.isTruncated
    : ImageInspection.isTruncated(decoded);
}

/** @throws {@link MalformedResponseError} where there is base64 that holds nothing. */
export async function bytesIn(
  decoded: Decoded | undefined,
  facts: ErrorFacts,
): Promise<ImageBytes | undefined> {
  if (decoded instanceof DecodedImage) return decoded.sink.read();
  if (decoded === undefined || decoded.byteLength > 0) return decoded;
  throw new MalformedResponseError({ ...facts, detail: "Its base64 holds nothing" });
}

export function isText(bytes: Uint8Array): boolean {
  return sniff(bytes) === undefined && looksLikeText(bytes);
}

/** A place where the bytes of an image may be; `undefined` where they are not. */
type Place = () => Promise<ImageBytes | undefined>;

/**
 * The bytes from the first place that gives them: one that fails hides none after it.
 *
 * @throws what the only place that failed has thrown; an `AggregateError` where several did.
 */
export async function firstOf(places: readonly Place[]): Promise<ImageBytes> {
  const failures: unknown[] = [];
  for (const place of places) {
    try {
      const bytes = await place();
      if (bytes !== undefined) return bytes;
    } catch (error) {
      failures.push(error);
    }
  }
  const [only = new Error("The response gave neither bytes nor a URL"), another] = failures;
  if (another === undefined) throw only;
  // Not the download's error itself, which names the whole job again.
  const causes = failures.map((each) => (each instanceof DownloadError && each.cause) || each);
  throw new AggregateError(causes, causes.map((cause) => withoutStops(reasonOf(cause))).join("; "));
}

/** What a download came to, where it is what went wrong, or a part of that. */
export function faultIn(failure: unknown): DownloadFault | undefined {
  const causes: unknown[] = failure instanceof AggregateError ? failure.errors : [failure];
  return causes.find((cause) => cause instanceof DownloadFault);
}
