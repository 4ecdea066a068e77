import type { Dispatcher } from "undici";
import { abortSignalOf } from "../async/clock";
import { bodyOf } from "./body";
import { decompressed } from "./content-encoding";
import { type ExchangeEnds, flatHeaders, NotSentError, type OpenResponse } from "./dispatch";
import type { HttpRequest } from "./messages";

/** What is used of an undici `Dispatcher`: the classes of two versions are not each other's type. */
export interface RequestDispatcher {
  request(options: object): Promise<{
    readonly statusCode: number;
    readonly headers: Readonly<Record<string, string | string[] | undefined>>;
    readonly body: AsyncIterable<unknown>;
  }>;
}

/** Whether a dispatcher tells when a request begins to leave; of the others, as of `fetch`, only errors tell. */
export function tellsOfSending(
  dispatcher: RequestDispatcher,
): dispatcher is RequestDispatcher & Pick<Dispatcher, "compose"> {
  return "compose" in dispatcher && typeof dispatcher.compose === "function";
}

/** Sends by the caller's own dispatcher. */
export async function sendWithDispatcher(
  dispatcher: RequestDispatcher,
  target: Dispatcher.DispatchOptions,
  ends: ExchangeEnds,
): Promise<OpenResponse> {
  const options = { ...target, signal: abortSignalOf(ends.signal) };
  let asking: ReturnType<RequestDispatcher["request"]>;
  if (tellsOfSending(dispatcher)) asking = dispatcher.compose(watching(ends)).request(options);
  else {
    asking = dispatcher.request(options);
    ends.onSending?.();
  }
  const { statusCode: status, headers, body } = await asking;
  return { status, headers: flatHeaders(headers), body: bodyOf(body) };
}

/** Outermost of the caller's interceptors: what one of them repeats has begun with the first of its attempts. */
function watching(ends: ExchangeEnds): Dispatcher.DispatcherComposeInterceptor {
  return (dispatch) => (options, handler) => dispatch(options, watched(handler, ends));
}

/**
 * A handler that tells when its request begins. undici 7 calls `onRequestStart` then, undici 6
 * `onConnect`; whatever else is called but an error tells it too, should a dispatcher leave that out.
 */
function watched(
  handler: Dispatcher.DispatchHandler,
  ends: ExchangeEnds,
): Dispatcher.DispatchHandler {
  return new Proxy(handler, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== "function" || typeof name !== "string") return member;
      return (...given: unknown[]) => {
        // The caller was told that nothing was sent: that must stay true.
        if (isStart(name) && isOver(ends)) return abort(given[0]);
        if (!isError(name)) ends.onSending?.();
        return Reflect.apply(member, target, given);
      };
    },
  });
}

const isStart = (name: string) => name === "onRequestStart" || name === "onConnect";
const isError = (name: string) => name === "onResponseError" || name === "onError";
const isOver = ({ signal, stop }: ExchangeEnds) => signal.aborted || stop?.aborted === true;

/** Aborts by what undici hands over at the start: a controller, or in undici 6 a function. */
function abort(start: unknown): void {
  const reason = new NotSentError();
  if (typeof start === "function") start(reason);
  else if (typeof start === "object" && start !== null && "abort" in start) {
    if (typeof start.abort === "function") start.abort(reason);
  }
}

/** Sends by the caller's own `fetch`. Only if it throws at once it is certain that nothing was sent. */
export async function sendWithFetch(
  fetch: typeof globalThis.fetch,
  { method, url, headers, body }: HttpRequest,
  { signal, onSending }: ExchangeEnds,
): Promise<OpenResponse> {
  const options: RequestInit = {
    ...{ method, headers, signal: abortSignalOf(signal), redirect: "manual" },
    ...(body !== undefined && { body }),
  };
  const asking = fetch(url, options);
  onSending?.();
  const response = await asking;
  // fetch has decoded the body, unless there is a coding that it does not know; the length no longer holds.
  const { "content-encoding": encoding, ...rest } = Object.fromEntries(response.headers);
  if (encoding !== undefined) delete rest["content-length"];
  const received = decompressed(bodyOf(response.body ?? empty()), encoding, true);
  return { status: response.status, headers: rest, body: received };
}

async function* empty(): AsyncIterable<Uint8Array> {}
