import {
  type ImageError,
  type ImageRequest,
  InvalidRequestError,
  isImageError,
  type JobReference,
} from "../../index";
import type { Reserved, RouterCall } from "./call";
import { type Claim, type ClaimFacts, claimedMember, idOf, placeOf } from "./claim";
import { endOf, isWhole, lostError } from "./claim-ends";
import { ClaimWait } from "./claim-wait";
import type { Claims } from "./claims";
import { onAbort } from "./clock";
import { digestOf } from "./digest";
import { HeldClaim } from "./held-claim";
import type { Member } from "./members";
import type { Order } from "./order";
import type { JobWatch } from "./routed";
import { isUncharged, mayPassOn } from "./rules";
import { type Candidate, candidateFor } from "./selection";
import type { Walk } from "./walk";

/** Somebody else has taken over the claim: nothing was sent, and what comes of it is theirs to say. */
class LostClaim extends Error {}

/** A call under an `idempotencyKey`: it goes where the claim of its key says. */
export class KeyedCall<Request extends ImageRequest, Value> {
  readonly #call: RouterCall<Request, Value>;
  readonly #claims: Claims;
  readonly #idempotencyKey: string;
  readonly #key: string;
  readonly #digest: string;
  /** The place of the last link that is known. */
  #from = 0;
  #walk: Walk<Request> | undefined;
  readonly #wait: ClaimWait;
  /** The link of the order whose fate is unknown, and which this call buys again. */
  #boughtAgainAt: number | undefined;

  constructor(call: RouterCall<Request, Value>, claims: Claims, idempotencyKey: string) {
    this.#call = call;
    this.#claims = claims;
    this.#idempotencyKey = idempotencyKey;
    this.#key = claims.keyFor(idempotencyKey);
    this.#digest = digestOf(call.request);
    this.#wait = new ClaimWait(call.time, call.services);
  }

  async run(): Promise<Value> {
    try {
      this.#call.options.signal?.throwIfAborted();
      return await this.#runThrough();
    } catch (error) {
      throw this.#call.withUnknown(error);
    }
  }

  async #runThrough(): Promise<Value> {
    for (;;) {
      const last = await this.#claims.last(this.#key, this.#from);
      this.#from = last?.index ?? 0;
      const link = await this.#claims.standing(last);
      const isOver = link === undefined || link.index === this.#boughtAgainAt;
      const done = isOver ? await this.#order(last) : await this.#follow(link);
      if (done !== undefined) return done.value;
    }
  }

  /** Nobody has the order: the next client is chosen. Gives nothing where another process was quicker. */
  async #order(last: Claim | undefined): Promise<{ readonly value: Value } | undefined> {
    const index = last === undefined ? 0 : last.index + 1;
    const call = this.#call;
    this.#walk ??= call.walk();
    const id = idOf(this.#key, index);
    const { candidate, order, turn } = await call.reserve(this.#walk, id);
    const claim = await this.#open(index, candidate.member, order).catch(async (error: unknown) => {
      candidate.member.cooling.end(turn);
      await call.dismiss(order);
      throw error;
    });
    if (claim === undefined) {
      candidate.member.cooling.end(turn);
      await call.dismiss(order);
      return undefined;
    }
    return this.#send(claim, { candidate, order, turn });
  }

  #open(index: number, member: Member, order: Order, isAgain = this.#call.isAgain) {
    const { operation, request, options, services } = this.#call;
    const facts: ClaimFacts = {
      ...placeOf(member),
      entry: order.id,
      ...(isAgain && { again: true }),
      until: this.#claims.untilAfter(options.timeoutMs ?? services.timeoutMs),
    };
    const digest = this.#digest;
    return this.#claims.open(this.#key, index, { operation, n: request.n ?? 1, digest }, facts);
  }

  /**
   * Asks the client of a claim that is this call's own, and writes down what came of it. `before` is the claim
   * that was taken over, of an order whose fate nobody knows.
   */
  async #send(
    opened: Claim,
    next: Reserved<Request>,
    before?: Claim,
  ): Promise<{ readonly value: Value } | undefined> {
    const call = this.#call;
    const { candidate, order } = next;
    const held = new HeldClaim(this.#claims, opened);
    const ended = new AbortController();
    const { signal } = call.options;
    const stop = signal && onAbort(signal, () => ended.abort(signal.reason));
    const lose = () => {
      // What has left cannot be taken back, and need not: the other one is at the same client.
      if (!order.isBegun) ended.abort(new LostClaim());
    };
    const limitMs = call.options.timeoutMs ?? call.services.timeoutMs;
    const release = held.keep(limitMs, lose);
    try {
      const outcome = await call.send({
        ...next,
        signal: ended.signal,
        idempotencyKey: keyOf(this.#idempotencyKey, opened, candidate.member),
        onAccepted: (job) => held.accepted(job, order),
        ...(before !== undefined && {
          endOf: (error: ImageError) => endOf(before, candidate.member, error),
        }),
      });
      release();
      if ("value" in outcome) {
        const { kind } = call;
        await held.succeeded(
          kind.jobOf(outcome.value).reference,
          kind.isOver(outcome.value),
          order,
        );
        return { value: call.finish(outcome.value, order, this.#watch(outcome.value)) };
      }
      await held.failed(outcome.error, order);
      // Its client will tell of the order that was taken over, sooner or later: nothing is bought beside it.
      if (outcome.error !== outcome.said) throw outcome.error;
      this.#goOn(opened, candidate, order, outcome.error);
      return undefined;
    } catch (error) {
      release();
      if (error instanceof LostClaim) return undefined;
      if (!isImageError(error)) await held.abandoned(order);
      throw error;
    } finally {
      stop?.();
      held.leave();
    }
  }

  /** A key buys once more at most, whoever comes with it. */
  #goOn(
    { index, facts }: Claim,
    candidate: Candidate<Request>,
    order: Pick<Order, "id">,
    error: ImageError,
  ): void {
    const call = this.#call;
    if (facts.again === true && !isUncharged(error)) throw error;
    this.#walk ??= call.walk();
    call.goOn(candidate, order, error, this.#walk);
    if (!isUncharged(error)) this.#boughtAgainAt = index;
  }

  /** Somebody has the order: their client is asked, or what they got is waited for. */
  async #follow(last: Claim): Promise<{ readonly value: Value } | undefined> {
    const { services, options } = this.#call;
    if (last.record.requestDigest !== this.#digest) {
      throw new InvalidRequestError({
        ...{ provider: services.name, charged: "no", field: "options.idempotencyKey" },
        given: "the key of another request",
        taken: "a key of its own for each request, or the very same request again",
      });
    }
    const member = claimedMember(last, services.members.all, services.name);
    const isOpen = last.record.state === "submitting";
    const isLeft = !isOpen || this.#claims.isAbandoned(last);
    if (isLeft && member.honoursKeys) return this.#takeOver(last, member);
    const { reference } = last.facts;
    if (reference !== undefined && isWhole(reference) && member.client.capabilities.resumable) {
      return this.#resume(last, member, reference);
    }
    if (isLeft) {
      const candidate = candidateFor(member, this.#call.request, services);
      this.#goOn(last, candidate, { id: last.facts.entry }, lostError(last, member));
      return undefined;
    }
    await this.#wait.next(last, member, options.signal);
    return undefined;
  }

  /** Nobody else is at it: its client is asked again under its key, which finds the job. */
  async #takeOver(last: Claim, member: Member): Promise<{ readonly value: Value } | undefined> {
    const call = this.#call;
    const candidate = candidateFor(member, call.request, call.services);
    // What was delivered is found, and not ordered: it needs no claim, and no money.
    if (last.record.state === "succeeded") return this.#fetch(last, candidate);
    const known = await call.services.accounting.reopen(last.facts.entry);
    // That nothing is sent now says nothing of the order before.
    const inDoubt = (error: unknown): never => {
      throw isImageError(error) ? endOf(last, member, error) : error;
    };
    const order =
      known ?? (await call.hold(candidate, idOf(this.#key, this.#from + 1)).catch(inDoubt));
    const giveBack = async () => known ?? (await call.dismiss(order));
    const opening = this.#open(this.#from + 1, member, order, last.facts.again === true);
    const claim = await opening.catch((error: unknown) => giveBack().then(() => inDoubt(error)));
    if (claim !== undefined) {
      return this.#send(claim, { candidate, order, turn: member.cooling.follow() }, last);
    }
    await giveBack();
    return undefined;
  }

  /** The pictures of an order that is over. */
  async #fetch(last: Claim, candidate: Candidate<Request>): Promise<{ readonly value: Value }> {
    const call = this.#call;
    const { member } = candidate;
    const order = call.services.accounting.none();
    const outcome = await call.send({
      ...{ candidate, order, turn: member.cooling.follow(), signal: call.options.signal },
      idempotencyKey: keyOf(this.#idempotencyKey, last, member),
    });
    if ("error" in outcome) throw outcome.error;
    return { value: call.finish(outcome.value, order, this.#watch(outcome.value)) };
  }

  /** The job of the order, which costs nothing to ask after. */
  async #resume(
    last: Claim,
    member: Member,
    reference: JobReference,
  ): Promise<{ readonly value: Value } | undefined> {
    const call = this.#call;
    const { accounting } = call.services;
    const { signal, saveTo } = call.options;
    const order = (await accounting.reopen(last.facts.entry)) ?? accounting.none();
    const job = member.client.resume(reference);
    call.time.start();
    const limits = { ...(signal && { signal }), ...(saveTo !== undefined && { saveTo }) };
    try {
      const timeoutMs = Math.max(1, call.time.leftMs);
      const value = await call.kind.follow(job, { ...limits, timeoutMs });
      if (value !== job) call.kind.settle(value, order);
      await order.written();
      return { value: call.finish(value, order, this.#watch(value)) };
    } catch (error) {
      if (!isImageError(error) || !isUncharged(error)) throw error;
      order.failed(error);
      await order.written();
      const { code: kind, message } = error;
      await this.#claims.update(last, {
        state: "failed",
        failure: { kind, message, charged: "no" },
      });
      // It was not paid for, and another may do better: as if this call had asked.
      if (!mayPassOn(error)) throw error;
      this.#goOn(last, candidateFor(member, call.request, call.services), order, error);
      return undefined;
    }
  }

  #watch(value: Value): JobWatch {
    return { released: () => this.#claims.forget(this.#key, this.#call.kind.jobOf(value).id) };
  }
}

/** The key that the client of a claim is given: another one for the purchase after an unknown one. */
function keyOf(
  idempotencyKey: string,
  { facts }: Claim,
  { honoursKeys }: Member,
): string | undefined {
  if (!honoursKeys) return undefined;
  return facts.again ? `${idempotencyKey}#again` : idempotencyKey;
}
