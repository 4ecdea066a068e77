import type { Amount } from "../../index";

/** Sums are kept in billionths, as whole numbers: binary fractions would make a limit one order too small. */
const parts = 1_000_000_000;

/** An amount in billionths. */
export const toParts = (amount: number): number => Math.round(amount * parts);

/** Billionths as an amount. */
export const fromParts = (count: number): number => Number((count / parts).toPrecision(15));

/** An amount without the noise of binary fractions. */
export const exactly = (amount: number): number => fromParts(toParts(amount));

/** What one of each unit is worth in one common currency. */
export class Rates {
  readonly #worth: ReadonlyMap<string, number>;

  constructor(worth: Readonly<Record<string, number>> = {}) {
    this.#worth = new Map(Object.entries(worth));
  }

  /** What one of each unit is in another; that unit alone where no rates say more. */
  into(unit: string): Readonly<Record<string, number>> {
    const own = this.#worth.get(unit);
    if (own === undefined) return { [unit]: 1 };
    const all = [...this.#worth].map(([each, worth]) => [each, worth / own] as const);
    return { ...Object.fromEntries(all), [unit]: 1 };
  }

  /** An amount in another unit, where that can be told. */
  convert({ amount, unit }: Amount, to: string): Amount | undefined {
    const rate = this.into(to)[unit];
    return rate === undefined ? undefined : { amount: exactly(amount * rate), unit: to };
  }
}
