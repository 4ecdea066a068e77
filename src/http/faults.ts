import type { DecodedImage } from "../media/decoded-image";
import { codeOf, isError } from "../realm";
import { BlockedAddressError } from "./network-guard";

/** The exchange gave no response. */
export class TransportFault extends Error {
  override readonly name = "TransportFault";
  /** False only where it is certain that nothing of the request can have been sent. */
  readonly sent: boolean;
  /** Sending it again may go better. */
  readonly transient: boolean;
  /** The time that ran out, if that is what happened. */
  declare readonly timeoutMs?: number;
  /** Those that came whole before the response broke off. */
  readonly images: readonly DecodedImage[];

  constructor(
    message: string,
    facts: {
      sent: boolean;
      transient?: boolean;
      timeoutMs?: number;
      cause?: unknown;
      images?: readonly DecodedImage[];
    },
  ) {
    super(message, { cause: facts.cause });
    this.sent = facts.sent;
    this.transient = facts.transient ?? true;
    this.images = facts.images ?? [];
    if (facts.timeoutMs !== undefined) this.timeoutMs = facts.timeoutMs;
  }
}

/** A download that did not end in an image. */
export class DownloadFault extends Error {
  override readonly name = "DownloadFault";
  declare readonly status?: number;
  /** Asking for the same URL again may go better. */
  readonly transient: boolean;
  declare readonly retryAfterMs?: number | undefined;

  constructor(
    message: string,
    facts: {
      transient: boolean;
      status?: number;
      retryAfterMs?: number | undefined;
      cause?: unknown;
    },
  ) {
    super(message, { cause: facts.cause });
    this.transient = facts.transient;
    if (facts.status !== undefined) this.status = facts.status;
    if (facts.retryAfterMs !== undefined) this.retryAfterMs = facts.retryAfterMs;
  }

  /** The URL has expired. */
  get expired(): boolean {
    return this.status === 403 || this.status === 404 || this.status === 410;
  }
}

/** There is no way through a proxy. Its message shows neither user nor password. */
export class ProxyError extends Error {
  override readonly name = "ProxyError";
  /** Trying it again may go better. */
  readonly transient: boolean;

  constructor(message: string, facts: { transient: boolean; cause?: unknown }) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.transient = facts.transient;
  }
}

/** Codes of errors that come before anything can have been sent. */
const connectCodes =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT|UND_ERR_INVALID_ARG|CERT_.*|ERR_TLS_CERT_.*|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_.*)$/;

/**
 * Whether an error says by itself that nothing can have been sent. It is asked only where what sends
 * does not tell when it begins: an error proves less than that.
 */
export function neverConnected(error: unknown): boolean {
  if (typeof error !== "object" || error === null) return false;
  // An open connection can die of the same codes.
  if ("syscall" in error && (error.syscall === "read" || error.syscall === "write")) return false;
  if ("errors" in error && Array.isArray(error.errors)) {
    return error.errors.length > 0 && error.errors.every(neverConnected);
  }
  if ("code" in error && connectCodes.test(String(error.code))) return true;
  return "cause" in error && (isBadPort(error.cause) || neverConnected(error.cause));
}

/** The standard has a list of ports that `fetch` must not connect to; undici says so in words alone. */
function isBadPort(cause: unknown): boolean {
  return isError(cause) && cause.message === "bad port";
}

/** Network errors have codes, or come wrapped as a `TypeError` by fetch; anything else is a reader's own. */
export function isNetworkFault(error: unknown): boolean {
  if (blockedBy(error) !== undefined) return false;
  if (error instanceof ProxyError) return error.transient;
  return (
    /^(UND_ERR|ECONN|EPIPE|Z_BUF_ERROR|ENOTFOUND|EAI_|ETIMEDOUT|EHOST|ENET)/.test(
      codeOf(error) ?? "",
    ) ||
    (isError(error) && error.name === "TypeError")
  );
}

function blockedBy(error: unknown): BlockedAddressError | undefined {
  if (error instanceof BlockedAddressError) return error;
  return isError(error) && error.cause !== undefined ? blockedBy(error.cause) : undefined;
}

/** What went wrong, in words. */
export function messageOf(error: unknown): string {
  if (!isError(error)) return String(error);
  if (error instanceof ProxyError) return error.message;
  // fetch says "fetch failed" and keeps what happened in the cause.
  const inner = isError(error.cause) ? error.cause : error;
  const code = codeOf(inner);
  // What undici 7 says of a status 100 (`onHeadersComplete` of lib/dispatcher/client-h1.js).
  if (code === "UND_ERR_SOCKET" && inner.message === "bad response") {
    return "The server sent a 100 Continue that nobody had asked for, which ended the connection";
  }
  return inner.message || code || inner.name;
}

/** The body of a download is longer than is taken. */
export function tooLarge(limit: number): DownloadFault {
  return new DownloadFault(`It is larger than ${limit} bytes (\`maxDownloadBytes\`)`, {
    transient: false,
  });
}
