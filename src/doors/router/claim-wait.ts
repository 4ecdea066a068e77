import { ClientClosedError, TimeoutError } from "../../index";
import type { RouterServices } from "./call";
import type { Claim } from "./claim";
import { jobOf } from "./claim-ends";
import { pause } from "./clock";
import type { Member } from "./members";
import type { CallTime } from "./walk";

/** How soon a claim is looked at again, and how late. */
const firstLookMs = 50;
const lastLookMs = 2_000;

/** The waits of a call while others have the order: each is longer than the one before. */
export class ClaimWait {
  readonly #time: CallTime;
  readonly #services: Pick<RouterServices, "clock" | "closing" | "name">;
  #lookMs = firstLookMs;

  constructor(time: CallTime, services: Pick<RouterServices, "clock" | "closing" | "name">) {
    this.#time = time;
    this.#services = services;
  }

  /**
   * Until the claim is to be looked at again.
   *
   * @throws {@link TimeoutError} where the call's time is up; {@link ClientClosedError} where the router is
   * closed; the signal's reason if it aborts.
   */
  async next({ facts }: Claim, { client }: Member, signal: AbortSignal | undefined): Promise<void> {
    const time = this.#time;
    const { clock, closing, name } = this.#services;
    time.start();
    const job = jobOf(facts, client);
    const known = { provider: name, charged: "unknown" as const, job };
    if (time.leftMs <= 0) {
      const detail = `Another call under this key is at ${facts.client}`;
      throw new TimeoutError({ ...known, detail, timeoutMs: time.limitMs });
    }
    const delayMs = Math.min(this.#lookMs, time.leftMs);
    this.#lookMs = Math.min(lastLookMs, this.#lookMs * 1.5);
    try {
      await pause(clock, delayMs, signal === undefined ? [closing] : [signal, closing]);
    } catch (reason) {
      if (!closing.aborted) throw reason;
      throw new ClientClosedError(known);
    }
  }
}
