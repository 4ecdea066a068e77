import {
  BudgetExceededError,
  ClientClosedError,
  type ImageError,
  type ImageRequest,
  isImageError,
  type Operation,
} from "../../index";
import type { Accounting } from "./accounting";
import { type Attempt, type Attempted, attempt } from "./attempt";
import type { Claims } from "./claims";
import type { Clock } from "./clock";
import type { Turn } from "./cooling";
import type { Kind } from "./kinds";
import type { Order } from "./order";
import type { JobWatch } from "./routed";
import { isUncharged, mayBuyAgain, mayPassOn, withFailures } from "./rules";
import { type Candidate, type Chooser, called, inOrder, noneCan, select } from "./selection";
import type { ImageRouterOptions, RouteEvent, RouterCallOptions } from "./types";
import { CallTime, type Next, Walk } from "./walk";

/** What the calls of a router share. */
export interface RouterServices extends Chooser {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly accounting: Accounting;
  readonly claims: Claims | undefined;
  readonly fallback: ImageRouterOptions["fallback"];
  /** Aborts when the router is closed. */
  readonly closing: AbortSignal;
  readonly tell: (event: RouteEvent) => void;
}

/** A client that has the turn, with the money for it. */
export interface Reserved<Request extends ImageRequest> extends Next<Request> {
  readonly order: Order;
}

/** One `generate`, `edit` or `submit` of a router, without a key. */
export class RouterCall<Request extends ImageRequest, Value> {
  readonly services: RouterServices;
  readonly kind: Kind<Request, Value>;
  readonly request: Request;
  readonly operation: Operation;
  readonly options: RouterCallOptions;
  readonly time: CallTime;
  readonly warnings: string[] = [];
  /** The order of unknown fate that was bought again, and what it said. */
  #unknown: { readonly error: ImageError; readonly order: Pick<Order, "id"> } | undefined;

  constructor(
    services: RouterServices,
    kind: Kind<Request, Value>,
    request: Request,
    { operation, options }: { operation: Operation; options: RouterCallOptions },
  ) {
    this.services = services;
    this.kind = kind;
    this.request = request;
    this.operation = operation;
    this.options = options;
    this.time = new CallTime(options.timeoutMs ?? services.timeoutMs, services.clock);
  }

  /** The one more purchase, where there is one. */
  get isAgain(): boolean {
    return this.#unknown !== undefined;
  }

  async run(): Promise<Value> {
    try {
      this.options.signal?.throwIfAborted();
      return await this.#runThrough(this.walk());
    } catch (error) {
      throw this.withUnknown(error);
    }
  }

  async #runThrough(walk: Walk<Request>): Promise<Value> {
    for (;;) {
      const reserved = await this.reserve(walk);
      const { candidate, order } = reserved;
      const { signal } = this.options;
      const outcome = await this.send({ ...reserved, signal });
      if ("value" in outcome) return this.finish(outcome.value, order, {});
      this.goOn(candidate, order, outcome.error, walk);
    }
  }

  /** Those that can do the request, in the order in which they are asked. */
  walk(): Walk<Request> {
    const { services, request, options } = this;
    const { candidates, skipped } = select(request, services);
    if (candidates.length === 0) throw noneCan(services.name, skipped);
    for (const { member, reason } of skipped) this.#skip(member.name, reason);
    const { name: router, clock, closing, tell } = services;
    const signals = options.signal === undefined ? [] : [options.signal];
    const waits = options.retryRefused ?? true;
    const context = { router, clock, closing, tell, signals, waits, time: this.time };
    return new Walk(inOrder(candidates, request, services), context);
  }

  #skip(client: string, reason: string): void {
    this.warnings.push(`${client} was not asked: ${reason}`);
    this.services.tell({ type: "skipped", client, reason });
  }

  /** The next client, with the money for it held. */
  async reserve(walk: Walk<Request>, claim?: string): Promise<Reserved<Request>> {
    for (;;) {
      const { candidate, turn } = await walk.next();
      const { member } = candidate;
      try {
        const order = await this.hold(candidate, claim);
        if (this.#isStillReady(candidate, turn)) return { candidate, turn, order };
        // Others have heard a no meanwhile.
        await this.dismiss(order);
        member.cooling.end(turn);
      } catch (error) {
        member.cooling.end(turn);
        if (!(error instanceof BudgetExceededError)) throw error;
        this.#skip(member.name, error.message);
        walk.failed(candidate, error);
      }
    }
  }

  /** The money for an order at a client. @throws as {@link Accounting.reserve} does. */
  hold(candidate: Candidate, claim?: string): Promise<Order> {
    const { operation, options } = this;
    const tags = options.tags ?? {};
    const facts = { operation, tags, claim, again: this.#unknown?.order.id };
    return this.services.accounting.reserve(candidate, facts);
  }

  #isStillReady({ member: { cooling } }: Candidate, { spell }: Turn): boolean {
    return cooling.leftMs === 0 && cooling.spell === spell;
  }

  /** An order that was never sent. */
  async dismiss(order: Order): Promise<void> {
    order.left();
    await order.written();
  }

  /** Asks the client whose turn it is. */
  async send(given: Attempt<Request>): Promise<Attempted<Value>> {
    const { closing, name } = this.services;
    if (closing.aborted || this.options.signal?.aborted) {
      await this.dismiss(given.order);
      given.candidate.member.cooling.end(given.turn);
      this.options.signal?.throwIfAborted();
      const said = new ClientClosedError({ provider: name, charged: "no" });
      return { error: given.endOf?.(said) ?? said, said };
    }
    const { tell } = this.services;
    return attempt(this.kind, given, { call: this.options, time: this.time, tell });
  }

  /** Lets the next client be asked, or ends the call with what this one said. */
  goOn(
    candidate: Candidate<Request>,
    order: Pick<Order, "id">,
    error: ImageError,
    walk: Walk<Request>,
  ): void {
    const { member } = candidate;
    const { options, services } = this;
    options.signal?.throwIfAborted();
    if (this.#mayPassOn(error)) {
      walk.failed(candidate, error);
      this.warnings.push(`${member.name} could not: ${error.message}`);
      services.tell({ type: "fallback", client: member.name, error });
      return;
    }
    if (options.onUnknown !== "buy-again" || this.isAgain || !mayBuyAgain(error)) {
      throw error;
    }
    this.#unknown = { error, order };
    walk.putLast(candidate);
    this.warnings.push(`It was bought again, and may be paid for twice: ${error.message}`);
    services.tell({ type: "bought-again", client: member.name, error });
  }

  /** `fallback` narrows what the rules allow. */
  #mayPassOn(error: ImageError): boolean {
    const { fallback } = this.services;
    if (!mayPassOn(error)) return false;
    return fallback === undefined || called("fallback", () => fallback(error)) === true;
  }

  /** What ends the call: where an order before it may have been charged, that is said whatever came after. */
  withUnknown(error: unknown): unknown {
    const before = this.#unknown?.error;
    if (before === undefined || !isImageError(error)) return error;
    return isUncharged(error) ? withFailures(before, [error]) : withFailures(error, [before]);
  }

  /** What the caller is given. */
  finish(value: Value, order: Order, watch: JobWatch): Value {
    return this.kind.finish(value, [...this.warnings, ...order.warnings], watch);
  }
}
