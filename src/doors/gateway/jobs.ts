import type { ImageClient } from "../../index";
import { type End, type Failure, isSuccess } from "./ends";
import { jsonReply, type Reply } from "./exchange";
import type { Order } from "./order";
import { namesOf, replyOfEnd } from "./replies";
import { type FulfilmentContext, jobOf, resumption } from "./work";

interface JobContext {
  /** The client that the order went to; absent where the gateway no longer has it. */
  readonly client: ImageClient | undefined;
  readonly context: FulfilmentContext;
  /** Puts a surer end in the place of an earlier one. */
  revise(end: End): Promise<void>;
}

const wanted = { operation: "generate", stream: false, wantsUrls: true } as const;

/**
 * An order as a job: 202 while it runs, and then what its caller was answered. A job that the provider
 * still had when its order ended, by a time-out or a download that failed, is asked after again: that
 * costs nothing.
 */
export async function jobReply(order: Order, context: JobContext): Promise<Reply> {
  const { end, record } = order;
  const { client } = context;
  if (end === undefined) return underWay(order, order.isLost ? "unknown" : "in_progress");
  const canResume = record.reference !== undefined && client?.capabilities.resumable === true;
  if (isSuccess(end) || end.charged === "no" || !canResume) return replyOfEnd(order, end, wanted);
  // Once for all who ask meanwhile: each resumption has files of its own.
  order.review ??= review(order, end, client, context).finally(() => {
    order.review = undefined;
  });
  return order.review;
}

async function review(
  order: Order,
  end: Failure,
  client: ImageClient,
  { context, revise }: JobContext,
): Promise<Reply> {
  const job = jobOf(client, order);
  if (job === undefined) return replyOfEnd(order, end, wanted);
  const { state } = await job.status();
  if (state === "queued" || state === "running") return underWay(order, "in_progress");
  const later = await resumption(client, order, context);
  const isSurer = isSuccess(later) || (end.charged === "unknown" && later.charged !== "unknown");
  if (!isSurer) return replyOfEnd(order, end, wanted);
  await revise(later);
  return replyOfEnd(order, later, wanted);
}

/** An order whose gateway was stopped is `"unknown"`: the same request sent again takes it up. */
function underWay(order: Order, status: "in_progress" | "unknown"): Reply {
  const { orderedAt } = order.record;
  const created = Math.floor(orderedAt / 1000);
  const told = { id: order.id, object: "image.job", status, created };
  return jsonReply(202, told, { ...namesOf(order), "retry-after": "5" });
}
