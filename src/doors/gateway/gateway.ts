import type { IncomingMessage, ServerResponse } from "node:http";
import type { CallOptions, ImageClient, Operation } from "../../index";
import type { GatewayCaller } from "./authorize";
import { readForm } from "./body";
import { OrderBook, type Ticket } from "./book";
import { type Clock, systemClock } from "./clock";
import { type End, failureOf, hashOf } from "./ends";
import { ErrorReporter } from "./error-reporter";
import { type Incoming, jsonReply, type Reply } from "./exchange";
import { GatewayFault, replyOf, typeOf, wrongField } from "./faults";
import { type ParsedRequest, parseRequest } from "./fields";
import { jobReply } from "./jobs";
import { NodeIncoming, writeReply } from "./listener";
import { checkedOptions, type GatewayOptions } from "./options";
import type { Order } from "./order";
import { OrderStorage } from "./order-storage";
import { boughtOf, PartialImageQueue, showing } from "./partial-images";
import { mostBytesInMemory, Spool } from "./pictures";
import { callerIn } from "./refusals";
import { namesOf, replyOfEnd, replyTo } from "./replies";
import { restoreOrders } from "./restore";
import { routeOf } from "./routes";
import type { GatewayStore } from "./store";
import { type Term, Terms } from "./terms";
import type { ImageGateway, ImageGatewayOptions } from "./types";
import { UnderWay } from "./under-way";
import { responseOf, WebIncoming } from "./web";
import { type FulfilmentContext, purchase, repeatableForMs, savingIn } from "./work";

/**
 * OpenAI's images API over any client: whoever has an `openai` client, or anything else with a base URL,
 * gets every provider by changing that URL, and pays once for an order whatever its client repeats.
 *
 * @throws {@link InvalidRequestError} naming the option that is wrong.
 *
 * @example
 * ```ts
 * const gateway = createImageGateway({
 *   models: { "gpt-image-2": createImageClient({ provider: trinetra() }) },
 *   authorize: ({ headers }) => callers.get(headers.get("authorization") ?? ""),
 * });
 * createServer(gateway.listener).listen(8080);
 * ```
 */
export function createImageGateway(options: ImageGatewayOptions): ImageGateway {
  return new Gateway(options, systemClock);
}

/** The gateway of `createImageGateway`, over a clock that tests can hold. */
export class Gateway implements ImageGateway {
  readonly #options: GatewayOptions;
  readonly #clock: Clock;
  readonly #spool: Spool;
  readonly #terms: Terms;
  /** Orders that are being worked on, and replies that are being written. */
  readonly #underWay = new UnderWay();
  /**
   * How large the last picture of each model was. Nobody says beforehand how large the next one is: after
   * a large one it goes to the disk as it comes, and after a small one, which a file would cost more than
   * all the rest, it waits in memory.
   */
  readonly #lastBytes = new Map<string, number>();
  readonly #reporter: ErrorReporter;
  #isClosed = false;

  constructor(given: ImageGatewayOptions, clock: Clock) {
    const options = checkedOptions(given);
    this.#options = options;
    this.#clock = clock;
    this.#reporter = new ErrorReporter(options.onError);
    const { store, spoolDirectory = store?.directory } = options;
    this.#spool = new Spool(spoolDirectory);
    this.#terms = new Terms({
      ...{ lease: store?.lease, clock },
      open: () => this.#open(),
      onError: (error) => this.#report(error),
    });
  }

  readonly listener = (message: IncomingMessage, response: ServerResponse): void => {
    this.#handle(new NodeIncoming(message, response))
      .then((reply) => {
        // What was not read of a body that is refused: else its sender would see a reset, and no response.
        if (!message.complete) message.resume();
        return writeReply(reply, response);
      })
      .catch((error: unknown) => this.#report(error));
  };

  async fetch(request: Request): Promise<Response> {
    return responseOf(await this.#handle(new WebIncoming(request)));
  }

  async close({ timeoutMs = 30_000 }: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#isClosed = true;
    await this.#underWay.idle(this.#clock, timeoutMs);
    await this.#terms.release();
    await this.#spool.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Never rejects. */
  async #handle(incoming: Incoming): Promise<Reply> {
    try {
      return await this.#reply(incoming);
    } catch (error) {
      if (error instanceof GatewayFault) return replyOf(error);
      this.#report(error);
      const message = "The gateway failed before anything was ordered.";
      return replyOf(new GatewayFault(500, "gateway_failed", message));
    }
  }

  async #reply(incoming: Incoming): Promise<Reply> {
    const { caller, tags } = callerIn(
      await this.#options.authorize(incoming.request),
      this.#reporter,
    );
    const route = routeOf(incoming.method, incoming.path);
    switch (route.to) {
      case "models":
        return jsonReply(200, { object: "list", data: listOf(this.#options.models) });
      case "job":
        return this.#job(hashOf(caller), route.id);
      default:
        return this.#order(incoming, { caller: hashOf(caller), tags }, route.to);
    }
  }

  async #order(incoming: Incoming, by: GatewayCaller, to: Operation): Promise<Reply> {
    const key = keyOf(incoming);
    const wanted = parseRequest(to, await readForm(incoming, this.#options));
    const [model, client] = clientOf(this.#options.models, wanted.model);
    const parsed = boughtOf(Object.assign(wanted, { tags: by.tags }), client);
    if (to === "edit" && client.capabilities.edit === undefined) {
      throw wrongField("model", `${client.name} cannot edit images.`);
    }
    const { book } = await this.#terms.current();
    if (this.#isClosed) {
      const message = "The gateway is shutting down. Nothing was ordered.";
      throw new GatewayFault(503, "shutting_down", message, { headers: { "retry-after": "5" } });
    }
    const placing = { caller: by.caller, digest: parsed.digest, key: key && hashOf(key), model };
    const ticket = book.take(placing);
    const partials =
      parsed.request.partialImages === undefined ? undefined : new PartialImageQueue();
    if (partials !== undefined) ticket.order.watchers.add(partials);
    if (ticket.begins) this.#begin(book, ticket.order, client, parsed);
    const close = this.#closing(ticket, partials);
    // Its caller may leave at any time: whoever comes next for the same is given the order.
    const left = new Promise<undefined>((resolve) => {
      incoming.onLeave(() => {
        close(false);
        resolve(undefined);
      });
    });
    const { whitespaceEveryMs } = this.#options;
    const pace = { clock: this.#clock, whitespaceEveryMs, partials };
    try {
      const reply = await Promise.race([replyTo(ticket.order, parsed, pace), left]);
      if (reply === undefined) return { status: 499, headers: {}, body: [] };
      return Object.assign(reply, { onEnd: close });
    } catch (error) {
      // It was ordered: whatever goes wrong from here on, nobody may be told that it cost nothing.
      close(false);
      this.#report(error);
      const failure = failureOf(error, ticket.order.id);
      return replyOfEnd(ticket.order, failure, { ...parsed, stream: false });
    }
  }

  /** Closes a ticket, for which `close` waits. */
  #closing(ticket: Ticket, partials?: PartialImageQueue): (isDelivered: boolean) => void {
    this.#underWay.begin();
    let isOpen = true;
    return (isDelivered) => {
      // Whichever comes first: its caller leaves, the reply is written, or writing it fails.
      if (!isOpen) return;
      isOpen = false;
      ticket.close(isDelivered);
      if (partials !== undefined) ticket.order.watchers.delete(partials);
      this.#underWay.end();
    };
  }

  #begin(book: OrderBook, order: Order, client: ImageClient, parsed: ParsedRequest): void {
    const work = async () => {
      const buying = this.#purchase(book, order, client, parsed);
      // Whoever waits for it must not wait for ever.
      const end = await buying.catch((error: unknown) => failureOf(error, order.id));
      await book.settle(order, end);
    };
    this.#track(work());
  }

  async #purchase(
    book: OrderBook,
    order: Order,
    client: ImageClient,
    parsed: ParsedRequest,
  ): Promise<End> {
    const context = this.#contextFor(order);
    let saving: CallOptions;
    try {
      // Nothing leaves before the order is kept, and there is a place for its pictures.
      await book.begin(order);
      saving = await savingIn(context);
    } catch (error) {
      this.#report(error);
      const message = "The order could not be kept, and nothing was sent. Nothing was charged.";
      const told = { message, type: typeOf(503), code: "store_failed", param: null, charged: "no" };
      return { charged: "no", status: 503, headers: { "retry-after": "5" }, error: told };
    }
    const options: CallOptions = {
      onSubmitted: ({ reference }) => book.submitted(order, reference),
      ...saving,
      ...(parsed.tags !== undefined && { tags: parsed.tags }),
      ...(repeatableForMs(client) > 0 && { idempotencyKey: order.id }),
      ...(parsed.request.partialImages !== undefined && {
        onEvent: showing(parsed, (each) => order.show(each)),
      }),
    };
    return purchase(client, parsed, order, options, context);
  }

  #contextFor(order: Order): FulfilmentContext {
    const { model } = order.record;
    const isKept = this.#options.store !== undefined || order.isKeyed;
    return {
      spool: this.#spool,
      isKept,
      saves: isKept || (this.#lastBytes.get(model) ?? Number.POSITIVE_INFINITY) > mostBytesInMemory,
      onPicture: (byteLength) => this.#lastBytes.set(model, byteLength),
    };
  }

  #track(work: Promise<void>): void {
    this.#underWay.begin();
    const end = () => this.#underWay.end();
    work.then(end, (error: unknown) => {
      end();
      this.#report(error);
    });
  }

  async #job(caller: string, id: string): Promise<Reply> {
    const { book } = await this.#terms.current();
    const ticket = book.fetch(caller, id);
    if (ticket === undefined) {
      throw new GatewayFault(404, "job_not_found", "There is no such job, or it is forgotten.");
    }
    const { order } = ticket;
    const close = this.#closing(ticket);
    try {
      const reply = await jobReply(order, {
        client: this.#options.models.get(order.record.model),
        context: this.#contextFor(order),
        revise: (end) => book.revise(order, end),
      });
      const isEnd = reply.status !== 202;
      return { ...reply, onEnd: (isWritten) => close(isWritten && isEnd) };
    } catch (error) {
      close(false);
      this.#report(error);
      const { status, error: told } = failureOf(error, id);
      return jsonReply(status, { error: told }, namesOf(order));
    }
  }

  /** The orders that the store holds, if there is one, and those to come. */
  #open(): Term {
    const { store } = this.#options;
    const storage = new OrderStorage(store, this.#spool, (error) => this.#report(error));
    const book = new OrderBook(this.#clock, storage, this.#options);
    const started = store && this.#restore(store, book, storage);
    // Whoever asks hears of it: without what the store holds, nothing may be bought.
    started?.catch((error: unknown) => this.#report(error));
    return { book, storage, started };
  }

  #restore(store: GatewayStore, book: OrderBook, storage: OrderStorage): Promise<void> {
    const { models, keyTtlMs } = this.#options;
    return restoreOrders(store, {
      ...{ book, storage, clock: this.#clock, models, keyTtlMs },
      contextFor: (order) => this.#contextFor(order),
      track: (work) => this.#track(work),
      onError: (error) => this.#report(error),
    });
  }

  #report(error: unknown): void {
    this.#reporter.report(error);
  }
}

function keyOf(incoming: Incoming): string | undefined {
  const key = incoming.header("idempotency-key");
  if (key === undefined || (key !== "" && key.length <= 255)) return key;
  throw new GatewayFault(400, "invalid_value", "Idempotency-Key takes 1 to 255 characters.");
}

type Models = ReadonlyMap<string, ImageClient>;

function clientOf(models: Models, model: string | undefined): readonly [string, ImageClient] {
  const [only, another] = models;
  const names = [...models.keys()].join(", ");
  if (model === undefined) {
    if (only !== undefined && another === undefined) return only;
    throw wrongField("model", `model is missing: there are ${names}.`);
  }
  const client = models.get(model);
  if (client !== undefined) return [model, client];
  const message = `There is no model ${JSON.stringify(model)}: there are ${names}.`;
  throw new GatewayFault(404, "model_not_found", message, { param: "model" });
}

function listOf(models: Models) {
  return [...models].map(([id, { name }]) => {
    return { id, object: "model", created: 0, owned_by: name };
  });
}
