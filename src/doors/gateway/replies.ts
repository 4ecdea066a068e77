import type { Clock } from "./clock";
import { costText, type End, isSuccess, type Picture, type Success } from "./ends";
import { jsonReply, type Piece, type Reply } from "./exchange";
import type { ParsedRequest } from "./fields";
import type { Order } from "./order";
import type { PartialImageQueue } from "./partial-images";

/** What a request wants of its reply. */
export type Wanted = Pick<ParsedRequest, "operation" | "stream" | "wantsUrls">;

/** How often something is sent while nothing has come. */
export interface Pace {
  readonly clock: Clock;
  readonly whitespaceEveryMs: number | undefined;
  /** The partial images of a stream. */
  readonly partials?: PartialImageQueue | undefined;
}

/** Proxies and load balancers cut what is silent for 60 s, some for 30. */
const commentEveryMs = 10_000;

/**
 * The reply of an order: complete once it has ended, with a status that says how. One that streams begins
 * with the first partial image, and after the first pause at the latest.
 */
export async function replyTo(order: Order, wanted: Wanted, pace: Pace): Promise<Reply> {
  const { end } = order;
  if (end !== undefined) return replyOfEnd(order, end, wanted);
  const everyMs = wanted.stream ? commentEveryMs : pace.whitespaceEveryMs;
  if (everyMs === undefined) return replyOfEnd(order, await order.ended, wanted);
  const soon = await nextWithin(order, everyMs, pace);
  if (typeof soon === "object") return replyOfEnd(order, soon, wanted);
  const headers = { ...namesOf(order), "cache-control": "no-cache, no-transform" };
  if (!wanted.stream) {
    const type = { "content-type": "application/json" };
    return { status: 200, headers: { ...type, ...headers }, body: spaced(order, wanted, pace) };
  }
  return {
    status: 200,
    headers: { ...eventStream, ...headers },
    body: commented(order, wanted, pace),
  };
}

const eventStream = { "content-type": "text/event-stream; charset=utf-8" };

/** An end, with its true status. */
export function replyOfEnd(order: Order, end: End, wanted: Wanted): Reply {
  const headers = namesOf(order);
  headers["x-image-charged"] = end.charged;
  if (!isSuccess(end)) {
    return jsonReply(end.status, { error: end.error }, { ...headers, ...end.headers });
  }
  const { cost } = end.facts;
  if (cost !== undefined) headers["x-image-cost"] = costText(cost);
  if (wanted.stream) {
    return { status: 200, headers: { ...eventStream, ...headers }, body: eventsOf(end, wanted) };
  }
  headers["content-type"] = "application/json";
  return { status: 200, headers, body: bodyOf(end, wanted) };
}

/** How an order is called, for whoever comes back for it. */
export function namesOf({ id }: Order): Record<string, string> {
  return { "x-request-id": id, "x-image-job": id };
}

/** OpenAI's response, with ours beside it. */
function bodyOf({ pictures, facts }: Success, { wantsUrls }: Wanted): Piece[] {
  const pieces: Piece[] = [];
  let before = `${JSON.stringify(facts).slice(0, -1)},"data":[`;
  for (const picture of pictures) {
    pieces.push(`${before}{"b64_json":"`, bytesOf(picture));
    before = `"${membersOf(toldOf(picture, wantsUrls))}},`;
  }
  pieces.push(`${before.slice(0, -1)}]}`);
  return pieces;
}

/** One `completed` a picture; one that fails later than the head is an `error`. */
function eventsOf(end: End, { operation, wantsUrls }: Wanted): Piece[] {
  if (!isSuccess(end)) {
    return [`event: error\ndata: ${JSON.stringify({ type: "error", error: end.error })}\n\n`];
  }
  const type = operation === "edit" ? "image_edit.completed" : "image_generation.completed";
  const { created, ...rest } = end.facts;
  return end.pictures.flatMap((picture) => {
    const { outputFormat, size } = picture;
    const told = {
      ...rest,
      created_at: created,
      ...(outputFormat !== undefined && { output_format: outputFormat }),
      ...(size !== undefined && { size }),
      ...toldOf(picture, wantsUrls),
    };
    const head = `event: ${type}\ndata: {"type":"${type}","b64_json":"`;
    return [head, bytesOf(picture), `"${membersOf(told)}}\n\n`];
  });
}

async function* commented(order: Order, wanted: Wanted, pace: Pace): AsyncIterable<Piece> {
  if (pace.partials?.isEmpty !== false) yield ": keep-alive\n\n";
  for (;;) {
    const next = await nextWithin(order, commentEveryMs, pace);
    if (next === "partial") yield* partialImagesOf(pace.partials, wanted);
    else if (next === undefined) yield ": keep-alive\n\n";
    else {
      yield* eventsOf(next, wanted);
      return;
    }
  }
}

/** What has come since the last were sent. */
function* partialImagesOf(
  partials: PartialImageQueue | undefined,
  { operation }: Wanted,
): Iterable<Piece> {
  const type = operation === "edit" ? "image_edit.partial_image" : "image_generation.partial_image";
  for (let each = partials?.shift(); each !== undefined; each = partials?.shift()) {
    yield `event: ${type}\ndata: {"type":"${type}","b64_json":"`;
    yield each.bytes;
    yield `"${membersOf(each.told)}}\n\n`;
  }
}

/** JSON may begin with white space, which keeps a connection alive. */
async function* spaced(order: Order, wanted: Wanted, pace: Pace): AsyncIterable<Piece> {
  const { clock, whitespaceEveryMs = commentEveryMs } = pace;
  yield " ";
  for (;;) {
    const end = await nextWithin(order, whitespaceEveryMs, { clock });
    if (typeof end === "object") {
      if (isSuccess(end)) yield* bodyOf(end, wanted);
      else yield JSON.stringify({ error: end.error });
      return;
    }
    yield " ";
  }
}

/** What comes first: its end, a partial image, or the end of a pause, which is `undefined`. */
function nextWithin(
  order: Order,
  delayMs: number,
  { clock, partials }: Omit<Pace, "whitespaceEveryMs">,
): Promise<End | "partial" | undefined> {
  return new Promise((resolve) => {
    const cancel = clock.after(delayMs, () => resolve(undefined));
    const settle = (next: End | "partial") => {
      cancel();
      resolve(next);
    };
    partials?.listen(() => settle("partial"));
    void order.ended.then(settle);
  });
}

function bytesOf(picture: Picture): Piece {
  return "bytes" in picture ? picture.bytes : picture.stored;
}

function toldOf({ url, revisedPrompt }: Picture, wantsUrls: boolean) {
  return {
    ...(revisedPrompt !== undefined && { revised_prompt: revisedPrompt }),
    ...(wantsUrls && url !== undefined && { url }),
  };
}

/** Members for the end of an object that has some already. */
function membersOf(value: object): string {
  const text = JSON.stringify(value);
  return text === "{}" ? "" : `,${text.slice(1, -1)}`;
}
