import type { CallOptions, ImageError, ImageJob, ImageRequest } from "../../index";
import type { Turn } from "./cooling";
import type { Kind } from "./kinds";
import type { Order } from "./order";
import { asImageError } from "./rules";
import type { Candidate } from "./selection";
import type { RouteEvent, RouterCallOptions } from "./types";
import type { CallTime } from "./walk";

/** One order at one client, about to be sent. */
export interface Attempt<Request extends ImageRequest> {
  readonly candidate: Candidate<Request>;
  readonly order: Order;
  readonly turn: Turn;
  /** The key that the client is given. */
  readonly idempotencyKey?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Awaited before the caller hears that it was accepted. */
  readonly onAccepted?: (job: ImageJob) => Promise<void>;
  /** What an error says of an order that was sent before under the same key. */
  readonly endOf?: (error: ImageError) => ImageError;
}

/** What came of it. Whatever is no error of this package is thrown. */
export type Attempted<Value> =
  | { readonly value: Value }
  /** `said` is the client's own, `error` what that comes to by {@link Attempt.endOf}. */
  | { readonly error: ImageError; readonly said: ImageError };

/** What an attempt needs of its call. */
export interface AttemptContext {
  readonly call: RouterCallOptions;
  readonly time: CallTime;
  readonly tell: (event: RouteEvent) => void;
}

/** Asks one client, and settles the order by what it says. */
export async function attempt<Request extends ImageRequest, Value>(
  kind: Kind<Request, Value>,
  given: Attempt<Request>,
  { call, time, tell }: AttemptContext,
): Promise<Attempted<Value>> {
  const { candidate, order, turn } = given;
  const { client, cooling } = candidate.member;
  try {
    const options = optionsFor(given, call, time);
    const value = await kind.send(client, candidate.request, options);
    cooling.accepted(turn);
    kind.settle(value, order);
    return { value };
  } catch (thrown) {
    const said = asImageError(thrown);
    if (said === undefined) {
      order.left();
      throw thrown;
    }
    const error = given.endOf?.(said) ?? said;
    order.failed(error);
    const forMs = cooling.failed(said, turn);
    const { name } = candidate.member;
    if (forMs !== undefined) tell({ type: "cooling", client: name, code: said.code, forMs });
    return { error, said };
  } finally {
    cooling.end(turn);
    await order.written();
  }
}

/** The call as it is made to a client, which waits for nothing that another may do at once. */
function optionsFor<Request extends ImageRequest>(
  { candidate, order, turn, idempotencyKey, signal, onAccepted, endOf }: Attempt<Request>,
  call: RouterCallOptions,
  time: CallTime,
): CallOptions {
  const { saveTo, metadata, tags, detached, onSubmitted, onEvent } = call;
  const { cooling } = candidate.member;
  let isAccepted = endOf === undefined;
  return {
    timeoutMs: Math.max(1, time.leftMs),
    retryRefused: false,
    ...(signal !== undefined && { signal }),
    ...(idempotencyKey !== undefined && { idempotencyKey }),
    ...(saveTo !== undefined && { saveTo }),
    ...(metadata !== undefined && { metadata }),
    ...(tags !== undefined && { tags }),
    ...(detached !== undefined && { detached }),
    onSubmitted: async (job) => {
      // The sooner, the better: others may wait for what this one finds.
      cooling.accepted(turn);
      isAccepted = true;
      order.accepted(job);
      await onAccepted?.(job);
      await order.written();
      await onSubmitted?.(job);
    },
    onEvent: (event) => {
      // What waits behind a client's `concurrency` has not begun.
      if (event.type === "submitting") time.start();
      if (event.type === "submitted") cooling.accepted(turn);
      // A refusal of what was sent before is no end of it.
      const isRefusal = event.type === "failed" && event.error.charged === "no";
      if (isAccepted || !isRefusal) order.hear(event);
      return onEvent?.(event);
    },
  };
}
