import type { Read } from "../http/downloader";
import { DownloadFault } from "../http/faults";

/** How a client downloads. */
export interface Downloads {
  download<Value>(url: string, read: Read<Value>, signal?: AbortSignal): Promise<Value>;
  /** Asks the provider for a fresh URL in place of one that has expired. */
  refresh?(signal?: AbortSignal): Promise<string | undefined>;
}

/** An URL has expired, and asking for another one failed, for the reason in `cause`. */
export class NoFreshUrl extends Error {
  constructor(cause: unknown) {
    super("Its URL has expired, and a fresh one cannot be had", { cause });
  }
}

/**
 * Downloads an image, and once more from a fresh URL where its own has expired.
 *
 * @param onFreshUrl hears of that one, before it is asked.
 * @throws {@link NoFreshUrl} if asking for one fails; what `download` throws.
 */
export async function fetchImage<Value>(
  url: string,
  downloads: Downloads,
  read: Read<Value>,
  signal: AbortSignal | undefined,
  onFreshUrl: (url: string) => void,
): Promise<Value> {
  try {
    return await downloads.download(url, read, signal);
  } catch (error) {
    signal?.throwIfAborted();
    const expired = error instanceof DownloadFault && error.expired;
    const fresh = expired ? await freshUrl(downloads, signal) : undefined;
    if (fresh === undefined) throw error;
    onFreshUrl(fresh);
    return await downloads.download(fresh, read, signal);
  }
}

async function freshUrl(
  downloads: Downloads,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  try {
    return await downloads.refresh?.(signal);
  } catch (error) {
    signal?.throwIfAborted();
    throw new NoFreshUrl(error);
  }
}
