import type { Dispatcher } from "undici";
import { bodyOf } from "./body";
import { flatHeaders, type OpenAnswer } from "./dispatch";
import type { HttpRequest } from "./transport";

/** Sends by the caller's own dispatcher. */
export async function sendWith(
  dispatcher: Dispatcher,
  target: Dispatcher.DispatchOptions,
  signal: AbortSignal,
): Promise<OpenAnswer> {
  const { statusCode: status, headers, body } = await dispatcher.request({ ...target, signal });
  return { status, headers: flatHeaders(headers), body: bodyOf(body) };
}

/** Sends by the caller's own `fetch`. */
export async function sendWithFetch(
  fetch: typeof globalThis.fetch,
  { method, url, headers, body }: HttpRequest,
  signal: AbortSignal,
): Promise<OpenAnswer> {
  const options: RequestInit = { method, headers, signal, redirect: "manual" };
  const response = await fetch(url, body === undefined ? options : { body, ...options });
  // fetch has decoded the body already, and what the length says no longer holds.
  const { "content-encoding": _, ...rest } = Object.fromEntries(response.headers);
  if (_ !== undefined) delete rest["content-length"];
  return { status: response.status, headers: rest, body: bodyOf(response.body ?? empty()) };
}

async function* empty(): AsyncIterable<Uint8Array> {}
