import {
  BudgetExceededError,
  ClientClosedError,
  type ImageError,
  type ImageRequest,
  ProviderUnavailableError,
  TimeoutError,
} from "../../index";
import { type Clock, pause } from "./clock";
import type { Turn } from "./cooling";
import type { Member } from "./members";
import { isOfClient, withFailures } from "./rules";
import type { Candidate } from "./selection";
import type { RouteEvent } from "./types";

/** How long a call may take in all: from its first create or its first wait. */
export class CallTime {
  readonly limitMs: number;
  readonly #clock: Clock;
  #startedAt: number | undefined;

  constructor(limitMs: number, clock: Clock) {
    this.limitMs = limitMs;
    this.#clock = clock;
  }

  start(): void {
    this.#startedAt ??= this.#clock.now();
  }

  get leftMs(): number {
    if (this.#startedAt === undefined) return this.limitMs;
    return this.limitMs - (this.#clock.now() - this.#startedAt);
  }
}

/** What a walk needs of its call. */
export interface WalkContext {
  readonly router: string;
  readonly clock: Clock;
  readonly time: CallTime;
  readonly signals: readonly AbortSignal[];
  readonly closing: AbortSignal;
  /** Whether the call waits for clients that cool. */
  readonly waits: boolean;
  readonly tell: (event: RouteEvent) => void;
}

/** A client whose turn it is. */
export interface Next<Request extends ImageRequest> {
  readonly candidate: Candidate<Request>;
  readonly turn: Turn;
}

/** One after another of those that can do a request, as they become ready to be asked. */
export class Walk<Request extends ImageRequest> {
  readonly #context: WalkContext;
  #order: readonly Candidate<Request>[];
  /** The last error of each that was asked. */
  readonly #errors = new Map<Member, ImageError>();
  /** Those that this call asks no more. */
  readonly #spent = new Set<Member>();

  constructor(order: readonly Candidate<Request>[], context: WalkContext) {
    this.#order = order;
    this.#context = context;
  }

  /**
   * The next that may be asked now; it has the turn from here on.
   *
   * @throws one error for all of them where there is none, and none worth waiting for.
   */
  async next(): Promise<Next<Request>> {
    for (;;) {
      const left = this.#order.filter(({ member }) => !this.#spent.has(member));
      const { time } = this.#context;
      if (left.length === 0 || time.leftMs <= 0) throw this.#exhausted(left);
      const ready = left.find(({ member }) => member.cooling.isReady);
      if (ready !== undefined) return { candidate: ready, turn: ready.member.cooling.begin() };
      await this.#wait(left);
    }
  }

  async #wait(left: readonly Candidate<Request>[]): Promise<void> {
    const { clock, time, signals, closing, waits, tell, router } = this.#context;
    // Somebody else may be trying one just now: what they find comes sooner than its next turn.
    const awaited = left.filter(
      ({ member: { cooling } }) => cooling.passes || cooling.probe !== undefined,
    );
    const delayOf = ({ member: { cooling } }: Candidate) =>
      cooling.leftMs === 0 ? time.leftMs : cooling.leftMs;
    const [first] = awaited.toSorted((a, b) => delayOf(a) - delayOf(b));
    if (!waits || first === undefined || delayOf(first) > time.leftMs) throw this.#exhausted(left);
    time.start();
    const delayMs = Math.ceil(delayOf(first));
    tell({ type: "waiting", client: first.member.name, delayMs });
    const probes = awaited.flatMap(({ member }) => member.cooling.probe ?? []);
    const wake = probes.length === 0 ? undefined : Promise.race(probes);
    try {
      await pause(clock, delayMs, [...signals, closing], wake);
    } catch (reason) {
      if (!closing.aborted) throw reason;
      throw new ClientClosedError({ provider: router, charged: "no" });
    }
  }

  /** It said no, or was not asked. */
  failed({ member }: Candidate<Request>, error: ImageError): void {
    this.#errors.set(member, error);
    const isFinal = !isOfClient(error) || error instanceof BudgetExceededError;
    // Nobody fills an account while a call waits.
    if (isFinal || !member.cooling.passes) this.#spent.add(member);
  }

  /** Asked again after all others alone. */
  putLast({ member }: Candidate<Request>): void {
    const [own, others] = [true, false].map((isOwn) =>
      this.#order.filter((each) => (each.member === member) === isOwn),
    );
    this.#order = [...(others ?? []), ...(own ?? [])];
  }

  /** What is to be said where nobody can be asked any more, and when somebody can. */
  #exhausted(left: readonly Candidate<Request>[]): ImageError {
    const { router, time } = this.#context;
    const errors = [...this.#errors.values()];
    const [first, ...others] = errors;
    const isOfAll = errors.length === this.#order.length;
    if (first !== undefined && isOfAll && errors.every(({ code }) => code === first.code)) {
      return withFailures(first, others);
    }
    const isLate = time.leftMs <= 0;
    if (first === undefined && isLate) {
      return new TimeoutError({ provider: router, charged: "no", timeoutMs: time.limitMs });
    }
    const cooling = this.#order.filter(({ member }) => member.cooling.leftMs > 0);
    const waits = [
      ...cooling.map(({ member }) => member.cooling.leftMs),
      ...errors.flatMap(({ retryAfterMs }) => retryAfterMs ?? []),
    ];
    const told = this.#order.flatMap(({ member }) => {
      const error = this.#errors.get(member);
      const why = error?.code ?? (left.length > 0 ? member.cooling.code : undefined);
      return why === undefined ? [] : `${member.name}: ${why}`;
    });
    return new ProviderUnavailableError({
      ...{ provider: router, charged: "no", failures: errors },
      detail: `None of its clients can be asked now (${told.join(", ")})`,
      transient: waits.length > 0,
      ...(first !== undefined && { cause: first }),
      ...(waits.length > 0 && { retryAfterMs: Math.ceil(Math.min(...waits)) }),
    });
  }
}
