import type { CallOptions, ImageClient, ImageJob, ImageResult } from "../../index";
import { type End, factsOf, failureOf, fetchAll, lostOf } from "./ends";
import type { ParsedRequest, Purchase } from "./fields";
import type { Order } from "./order";
import type { Spool } from "./pictures";

/** What is needed to do the work of an order. */
export interface FulfilmentContext {
  readonly spool: Spool;
  /** Whether pictures must be on the disk whatever their size. */
  readonly isKept: boolean;
  /** Whether pictures go to the disk as they come. */
  readonly saves: boolean;
  /** Hears how large a picture was. */
  onPicture(byteLength: number): void;
}

/** Buys, and gives what became of it. Never throws. */
export async function purchase(
  client: ImageClient,
  parsed: Purchase,
  order: Order,
  options: CallOptions,
  context: FulfilmentContext,
): Promise<End> {
  try {
    const buying =
      parsed.operation === "edit"
        ? client.edit(parsed.request, options)
        : client.generate(parsed.request, options);
    const result = await buying;
    return await endOf(result, order, context, wishesOf(parsed.request));
  } catch (error) {
    return failureOf(error, order.id);
  }
}

/** What a job that was paid for has come to. Never throws. */
export async function resumption(
  client: ImageClient,
  order: Order,
  context: FulfilmentContext,
): Promise<End> {
  const job = jobOf(client, order);
  if (job === undefined) return lostOf(order.id);
  try {
    const result = await job.result(await savingIn(context));
    return await endOf(result, order, context, {});
  } catch (error) {
    return failureOf(error, order.id);
  }
}

/**
 * The job that the provider has; `undefined` where this client cannot ask for it, as it is another provider's
 * or at another address by now. What it says of the reference says nothing of the order.
 */
export function jobOf(client: ImageClient, { record }: Order): ImageJob | undefined {
  try {
    return client.resume(record.reference);
  } catch {
    return undefined;
  }
}

/** A provider need not honour a key for longer. */
const keyLastsMs = 10 * 60 * 1000;

/** How long a call made again under the same key buys nothing more; 0 where it may at once. */
export function repeatableForMs({ capabilities }: ImageClient): number {
  if (capabilities.keepsJournal === true) return Number.POSITIVE_INFINITY;
  return capabilities.idempotent ? keyLastsMs : 0;
}

async function endOf(
  result: ImageResult,
  order: Order,
  { spool, isKept, onPicture }: FulfilmentContext,
  wishes: object,
): Promise<End> {
  order.job = result.job;
  const fetched = await fetchAll(result, (image) => spool.keep(image, isKept));
  const { pictures, failures } = fetched;
  const facts = factsOf(result, failures, order.id);
  for (const picture of pictures) {
    onPicture("bytes" in picture ? picture.bytes.byteLength : picture.stored.byteLength);
  }
  const { outputFormat, size } = pictures[0] ?? {};
  const format = outputFormat !== undefined && { output_format: outputFormat };
  const measured = size !== undefined && { size };
  return { charged: "yes", pictures, facts: Object.assign({}, wishes, format, measured, facts) };
}

/** Then a large picture is never in memory as a whole. */
export async function savingIn({ spool, saves }: FulfilmentContext): Promise<{ saveTo?: string }> {
  return saves ? { saveTo: await spool.directory() } : {};
}

/** What OpenAI's response repeats of its request. */
function wishesOf({ quality, background, size, outputFormat }: ParsedRequest["request"]): object {
  return {
    ...(quality !== undefined && { quality }),
    ...(background !== undefined && { background }),
    ...(size !== undefined && { size }),
    ...(outputFormat !== undefined && { output_format: outputFormat }),
  };
}
