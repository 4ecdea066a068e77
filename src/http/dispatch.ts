import type { Dispatcher } from "undici";
import type { AbortSignalLike } from "../async/clock";
import { isError } from "../realm";
import { type Body, owned, type Take } from "./body";
import type { SocketReads } from "./socket-reads";

/** A response whose head has come. */
export interface OpenResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Body;
}

/** Headers as undici gives them, each in one text. */
export function flatHeaders(
  given: Readonly<Record<string, string | string[] | undefined>>,
): Readonly<Record<string, string>> {
  const flat: Record<string, string> = {};
  for (const name in given) {
    const value = given[name];
    flat[name.toLowerCase()] = Array.isArray(value) ? value.join(", ") : (value ?? "");
  }
  return flat;
}

/** The call had ended before there was a connection to send it on. */
export class NotSentError extends Error {
  override readonly name = "NotSentError";

  constructor() {
    super("The call ended before it was sent");
  }
}

/** Who ends an exchange: `signal` at any time, `stop` only as long as it has not begun to leave. */
export interface ExchangeEnds {
  readonly signal: AbortSignalLike;
  readonly stop?: AbortSignalLike | undefined;
  /** Called as the request begins to leave: before that, nothing of it has been sent. */
  readonly onSending?: (() => void) | undefined;
}

/** Makes of a response, whose head has come, what the caller is given. */
export type ResponseReader<Value> = (response: OpenResponse) => Value | Promise<Value>;

/** For a response that is read later, if it is. */
export const opened: ResponseReader<OpenResponse> = (response) => response;

/**
 * Sends by a dispatcher, and gives what is read of the response.
 *
 * @param read called the moment the head has come: what came with it need not be kept for a reader who
 * begins at once.
 * @param reads how the dispatcher's sockets are read, where that is ours to say.
 * @throws the signal's reason the moment it aborts; {@link NotSentError}; what undici says went wrong;
 * what `read` rejects with.
 */
export function dispatch<Value>(
  dispatcher: Pick<Dispatcher, "dispatch">,
  options: Dispatcher.DispatchOptions,
  ends: ExchangeEnds,
  read: ResponseReader<Value>,
  reads?: SocketReads,
): Promise<Value> {
  return new Promise((resolve, reject) => {
    const open = (response: OpenResponse) => resolve(read(response));
    if (ends.signal.aborted) reject(ends.signal.reason);
    else if (ends.stop?.aborted) reject(new NotSentError());
    else dispatcher.dispatch(options, new Exchange(ends, reads, open, reject));
  });
}

/** Bytes buffered before backpressure is applied. */
const mostWaitingBytes = 64 * 1024;

/** The same where backpressure takes undici's `pause`, which fails if the connection ends meanwhile ({@link SocketReads}). */
const mostUnpausedBytes = 16 * 1024 * 1024;

/**
 * One exchange over undici's dispatcher. `undici.request` would put a stream in between, and nothing of
 * what a stream does beyond this is needed here.
 */
class Exchange implements Dispatcher.DispatchHandler, Body {
  readonly #ends: ExchangeEnds;
  readonly #reads: SocketReads | undefined;
  readonly #open: (response: OpenResponse) => void;
  /** Rejects whichever promise is pending: the headers' or the body's. */
  #reject: (reason: unknown) => void;
  #resolve: (() => void) | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #take: Take | undefined;
  #isTaking = false;
  readonly #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #isWhole = false;
  /** Lets a sender go on that was asked to wait. */
  #goOn: (() => void) | undefined;
  #failure: { readonly reason: unknown } | undefined;

  constructor(
    ends: ExchangeEnds,
    reads: SocketReads | undefined,
    open: (response: OpenResponse) => void,
    reject: (reason: unknown) => void,
  ) {
    this.#ends = ends;
    this.#reads = reads;
    this.#open = open;
    this.#reject = reject;
    ends.signal.addEventListener("abort", this.#onAbort, { once: true });
    ends.stop?.addEventListener("abort", this.#onStop, { once: true });
  }

  readonly #onAbort = () => this.#fail(this.#ends.signal.reason);

  readonly #onStop = () => this.#fail(new NotSentError());

  /** undici calls this once there is a connection, just before it writes: an abort in it writes nothing. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // While it waited for a connection the caller left: it must not go out.
    if (this.#failure !== undefined) controller.abort(new Error("Nobody waits for it"));
    else {
      this.#ends.stop?.removeEventListener("abort", this.#onStop);
      this.#ends.onSending?.();
    }
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: Parameters<typeof flatHeaders>[0],
  ): void {
    // Those below 200 come before the response.
    if (status >= 200) this.#open({ status, headers: flatHeaders(headers), body: this });
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Uint8Array): void {
    this.#reads?.tookBody();
    if (chunk.byteLength === 0 || this.#failure !== undefined) return;
    const isBorrowed = this.#reads?.isBorrowed ?? false;
    if (this.#take !== undefined && !this.#isTaking) this.#give(this.#take, chunk, isBorrowed);
    else {
      this.#waiting.push(owned(chunk, isBorrowed));
      this.#waitingBytes += chunk.byteLength;
    }
    if (this.#isTaking || this.#waitingBytes >= mostWaitingBytes) this.#hold();
  }

  /** Asks the sender to wait. */
  #hold(): void {
    if (this.#reads !== undefined) this.#goOn = this.#reads.hold();
    else if (this.#waitingBytes >= mostUnpausedBytes) {
      this.#controller?.pause();
      this.#goOn = () => this.#controller?.resume();
    }
  }

  onResponseEnd(): void {
    this.#reads?.tookEnd();
    // The next response comes over the same connection.
    this.#goOn?.();
    this.#goOn = undefined;
    this.#isWhole = true;
    this.#ends.signal.removeEventListener("abort", this.#onAbort);
    this.#advance();
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#fail(error);
  }

  each(take: Take): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure.reason);
        return;
      }
      this.#take = take;
      this.#resolve = resolve;
      this.#reject = reject;
      this.#advance();
    });
  }

  /** Hands over what waits, as far as it is taken at once. */
  #advance(): void {
    const take = this.#take;
    if (take === undefined) return;
    while (!this.#isTaking && this.#failure === undefined) {
      const chunk = this.#waiting.shift();
      if (chunk === undefined) {
        if (this.#isWhole) this.#resolve?.();
        else this.#goOn?.();
        this.#goOn = undefined;
        return;
      }
      this.#waitingBytes -= chunk.byteLength;
      this.#give(take, chunk, false);
    }
  }

  #give(take: Take, chunk: Uint8Array, isBorrowed: boolean): void {
    try {
      const taken = take(chunk, isBorrowed);
      if (taken === undefined) return;
      this.#isTaking = true;
      taken.then(
        () => {
          this.#isTaking = false;
          this.#advance();
        },
        (error: unknown) => this.#fail(error),
      );
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(reason: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { reason };
    this.#ends.signal.removeEventListener("abort", this.#onAbort);
    this.#ends.stop?.removeEventListener("abort", this.#onStop);
    this.#waiting.length = 0;
    this.#take = undefined;
    this.#controller?.abort(isError(reason) ? reason : new Error(String(reason)));
    this.#reject(reason);
  }
}
