import type { ImageError } from "../../index";
import type { Clock } from "./clock";

/** How long a client is left alone at first, and at most, in milliseconds. */
interface Pauses {
  readonly firstMs: number;
  readonly mostMs: number;
  /** One call alone tries whether it works again; the others wait for what it finds. */
  readonly probes: boolean;
  /** It passes by itself, so that a call may wait for it. */
  readonly passes: boolean;
}

const busy: Pauses = { firstMs: 1_000, mostMs: 60_000, probes: false, passes: true };
// Somebody has to pay, or to change a key: each try costs the caller its time.
const shut: Pauses = { firstMs: 300_000, mostMs: 3_600_000, probes: true, passes: false };

const pausesOf: Readonly<Record<string, Pauses>> = {
  rate_limited: busy,
  provider_unavailable: busy,
  // Perhaps paid for: whoever comes next shall not lose an order the same way.
  submission_unknown: busy,
  insufficient_credits: shut,
  authentication: shut,
  permission_denied: shut,
};

/** A client's turn at being asked: which spell of cooling came before it. */
export interface Turn {
  readonly spell: number;
  readonly isProbe: boolean;
}

/** Whether one client may be asked, by what its last errors said. */
export class Cooling {
  readonly #clock: Clock;
  #until = Number.NEGATIVE_INFINITY;
  #pauses: Pauses | undefined;
  #code: string | undefined;
  /** How often in a row it failed; calls that were under way together count once. */
  #failures = 0;
  /** Counts the times that it began to cool: what began before says nothing of the time after. */
  #spell = 0;
  #probe: Promise<void> | undefined;
  #endProbe: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How long it is left alone still, in milliseconds; 0 where it may be asked. */
  get leftMs(): number {
    return Math.max(0, this.#until - this.#clock.now());
  }

  /** Resolves when the one call that tries it has ended. */
  get probe(): Promise<void> | undefined {
    return this.#probe;
  }

  get isReady(): boolean {
    return this.leftMs === 0 && this.#probe === undefined;
  }

  /** Whether waiting for it may help: somebody has to act where it does not pass by itself. */
  get passes(): boolean {
    return this.#pauses?.passes ?? true;
  }

  /** Which spell of cooling it is in, or had last. */
  get spell(): number {
    return this.#spell;
  }

  /** The code of the error that it cools for. */
  get code(): string | undefined {
    return this.#code;
  }

  begin(): Turn {
    const isProbe = this.#pauses?.probes === true && this.#probe === undefined;
    if (isProbe) {
      this.#probe = new Promise((resolve) => {
        this.#endProbe = resolve;
      });
    }
    return { spell: this.#spell, isProbe };
  }

  /** The turn of a call that a claim leads here, whatever it cools for. */
  follow(): Turn {
    return { spell: this.#spell, isProbe: false };
  }

  /** It took an order: whatever it cooled for has passed. */
  accepted({ spell }: Turn): void {
    if (spell !== this.#spell) return;
    this.#pauses = undefined;
    this.#code = undefined;
    this.#failures = 0;
    this.#stopProbe();
  }

  /** It said no. Gives how long it is left alone for, where this began it. */
  failed({ code, retryAfterMs = 0 }: ImageError, { spell }: Turn): number | undefined {
    const pauses = pausesOf[code];
    if (pauses === undefined) return undefined;
    const now = this.#clock.now();
    if (spell !== this.#spell) {
      // Others have failed since it was asked. A longer wait that it asks for holds all the same.
      this.#until = Math.max(this.#until, now + retryAfterMs);
      return undefined;
    }
    const isSame = this.#pauses === pauses;
    this.#failures = isSame ? this.#failures + 1 : 1;
    this.#pauses = pauses;
    this.#code = code;
    this.#spell += 1;
    const growing = Math.min(pauses.mostMs, pauses.firstMs * 2 ** (this.#failures - 1));
    // What a busy provider asks for is obeyed to the letter; an empty account does not fill in it.
    const pauseMs =
      pauses.passes && retryAfterMs > 0 ? retryAfterMs : Math.max(growing, retryAfterMs);
    this.#until = now + pauseMs;
    this.#stopProbe();
    return pauseMs;
  }

  /** The call is over; one that tried the client without learning anything lets the next one try. */
  end({ isProbe }: Turn): void {
    if (isProbe) this.#stopProbe();
  }

  #stopProbe(): void {
    this.#endProbe?.();
    this.#probe = undefined;
    this.#endProbe = undefined;
  }
}
