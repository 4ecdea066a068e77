import type { Clock } from "../async/clock";

/** One HTTP request, ready to go. */
export interface HttpRequest {
  readonly method: "GET" | "POST";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

/** What came back. */
export interface ProviderResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /**
   * The parsed JSON; `undefined` where the body is not JSON. An integer beyond 2^53 is the string of its
   * digits. Of a stream of server-sent events it is what the last one holds that tells of an
   * error, or else the last; of one without events an empty object.
   */
  readonly body: unknown;
  /** What the events of such a stream hold, in order, save those that {@link Adapter.isPartial} names. */
  readonly events?: readonly unknown[] | undefined;
  /** How many of those there were: pictures that were being made. */
  readonly partials?: number | undefined;
  /** When it was made, in milliseconds since 1970: what a date in `Retry-After` is held against. */
  readonly receivedAt: number;
}

/**
 * When a response came; by the clock of the server that made it where it has a `Retry-After`: a date in
 * that is of that clock too, and ours may be an hour off.
 */
export function answeredAt(headers: Readonly<Record<string, string>>, clock: Clock): number {
  const { date } = headers;
  if (date === undefined || headers["retry-after"] === undefined) return clock.wallTime();
  const told = Date.parse(date);
  return Number.isNaN(told) ? clock.wallTime() : told;
}

/** Why what is left of a body is not waited for. */
export const notReadFurther = () => new Error("It is not read any further");
