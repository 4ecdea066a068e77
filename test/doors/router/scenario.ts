import { type CallOptions, isImageError, type Journal, memoryJournal } from "gpt-image-client";
import { memoryLedger } from "gpt-image-client/router";
import { routerOn } from "../../../src/doors/router/router";
import type { ImageRouter, RouteEvent, RouterCallOptions } from "../../../src/doors/router/types";
import { seededRandom } from "../../support/random";
import { type Fate, ModelClient, ModelProvider, refusals } from "./model-client";
import { SimClock } from "./sim-clock";

/** What a run came to, for those who count runs. */
export interface Outcome {
  readonly orders: number;
  readonly delivered: number;
  readonly purchases: number;
  readonly boughtAgain: number;
  readonly twice: number;
  readonly refusedByBudget: number;
}

interface Dice {
  random(): number;
  chance(probability: number): boolean;
  below(limit: number): number;
}

const budgetAmount = 0.5;
const timeoutMs = 120_000;

/** One order, under a key with as many calls as come with it. */
interface OrderPlan {
  readonly name: string;
  readonly isKeyed: boolean;
  delivered: number;
}

/**
 * A few orders at a few providers with generated faults, by two processes that share a journal and a
 * ledger.
 *
 * @throws where one of the properties does not hold.
 */
export async function runScenario(seed: number): Promise<Outcome> {
  const dice = diceOf(seed);
  const clock = new SimClock();
  const fail = (what: string): never => {
    throw new Error(`seed ${seed}: ${what}`);
  };
  const journal = failing(memoryJournal(), diceOf(seed + 2));
  const world = worldOf(dice, clock, journal, fail);
  const plans: OrderPlan[] = [];
  const works: Promise<void>[] = [];
  const count = 4 + dice.below(12);
  for (let index = 0; index < count; index += 1) {
    const known = plans.filter(({ isKeyed }) => isKeyed);
    const again = known[dice.below(known.length)];
    const plan =
      again !== undefined && dice.chance(0.4)
        ? again
        : { name: `o${index}`, isKeyed: dice.chance(0.5), delivered: 0 };
    if (plan !== again) plans.push(plan);
    works.push(order(plan, world, dice, clock, fail));
  }
  // Dice of its own, so that a seed stands for the same orders as before there was one.
  const own = diceOf(seed + 1);
  if (own.chance(0.5)) works.push(lookUp(world, own, clock));
  await clock.run(Promise.all(works));
  // Jobs whose callers have left run on.
  await clock.pass(24 * 3_600_000);
  return check(plans, world, fail);
}

function diceOf(seed: number): Dice {
  const random = seededRandom(seed);
  return {
    random,
    chance: (probability) => random() < probability,
    below: (limit) => Math.floor(random() * limit),
  };
}

interface World {
  readonly routers: readonly ImageRouter[];
  readonly providers: readonly ModelProvider[];
  readonly events: RouteEvent[];
  readonly ledger: ReturnType<typeof memoryLedger>;
  readonly refusals: { byBudget: number };
}

/** In half of the runs one in twenty accesses fails, before or after it was made. */
function failing(journal: Journal, dice: Dice): Journal {
  const rate = dice.chance(0.5) ? 0.05 : 0;
  const access = async <Value>(work: () => Promise<Value>): Promise<Value> => {
    const at = dice.random();
    if (at < rate / 2) throw new Error("EIO before");
    const value = await work();
    if (at < rate) throw new Error("EIO after");
    return value;
  };
  return {
    ...journal,
    create: (record) => access(() => journal.create(record)),
    read: (id) => access(() => journal.read(id)),
    update: (record) => access(() => journal.update(record)),
  };
}

function worldOf(
  dice: Dice,
  clock: SimClock,
  journal: Journal,
  fail: (what: string) => never,
): World {
  const names = ["a", "b", "c", "d"].slice(0, 1 + dice.below(4));
  const providers = names.map(() => new ModelProvider());
  const kinds = names.map(() => {
    return {
      hasJobs: dice.chance(0.6),
      honoursKeys: dice.chance(0.5),
      price: 0.05 + 0.05 * dice.below(4),
    };
  });
  const ledger = memoryLedger();
  const events: RouteEvent[] = [];
  holdToBudget(ledger, fail);
  const sort = dice.chance(0.5) ? "price" : "order";
  const routers = [0, 1].map(() => {
    /** Until when each is left alone, by what this router has said. */
    const coolUntil = new Map<string, number>();
    const clients = names.map((name, index) => {
      const { price = 1, ...kind } = kinds[index] ?? {};
      return new ModelClient({
        ...{ name, clock, ...kind, price: { amount: price, unit: "USD", basis: "list" } },
        provider: providers[index] ?? new ModelProvider(),
        fate: () => fateOf(name, dice),
        onAsked: ({ metadata }) => {
          const isFollowed = typeof metadata === "string" && metadata.startsWith("key");
          if (!isFollowed && clock.now() < (coolUntil.get(name) ?? 0))
            fail(`${name} was asked while it cools`);
        },
      });
    });
    const onRoute = (event: RouteEvent) => {
      events.push(event);
      if (event.type === "cooling") coolUntil.set(event.client, clock.now() + event.forMs);
    };
    const budget = [{ amount: budgetAmount, unit: "USD", per: "forever" } as const];
    const weighted = dice.chance(0.3)
      ? clients.map((client) => ({ client, weight: dice.below(3) }))
      : clients;
    return routerOn(
      { clients: weighted, journal, ledger, budget, onRoute, sort, timeoutMs },
      { clock, random: dice.random },
    );
  });
  return { routers, providers, events, ledger, refusals: { byBudget: 0 } };
}

/** Looks at what is held after every change. */
function holdToBudget({ store }: ReturnType<typeof memoryLedger>, fail: (what: string) => never) {
  const { append, update } = store;
  const look = async () => {
    const { charged, reserved, unknown } = await store.sums({ tags: {}, rates: { USD: 1 } });
    if (charged + reserved + unknown > budgetAmount + 1e-9)
      fail("more is held than the budget has");
  };
  store.append = async (entry, limits) => {
    const shortfall = await append(entry, limits);
    await look();
    return shortfall;
  };
  store.update = async (id, change) => {
    await update(id, change);
    await look();
  };
}

function fateOf(name: string, dice: Dice): Fate {
  const at = dice.random();
  const durationMs = dice.chance(0.05) ? 400_000 : dice.below(60_000);
  const delayMs = 10 + dice.below(5_000);
  const refused = (error: Extract<Fate, { kind: "refused" }>["error"]): Fate => ({
    kind: "refused",
    error,
    delayMs,
  });
  if (at < 0.5) return { kind: "ok", durationMs };
  if (at < 0.6)
    return refused(refusals.rateLimited(name, dice.chance(0.7) ? dice.below(90_000) : undefined));
  if (at < 0.68) return refused(refusals.unavailable(name));
  if (at < 0.74) return refused(refusals.empty(name));
  if (at < 0.77) return refused(refusals.locked(name));
  if (at < 0.8) return refused(refusals.moderated(name));
  if (at < 0.92) return { kind: "lost", isTaken: dice.chance(0.5), delayMs };
  return { kind: "failed", durationMs };
}

/** The `metadata` of a call, by which its purchases are known. */
function callOf({ name, isKeyed }: OrderPlan, onUnknown?: "buy-again"): string {
  return `${isKeyed ? "key " : ""}${name}${onUnknown === undefined ? "" : " bold"}`;
}

async function order(
  plan: OrderPlan,
  { routers, refusals: refused }: World,
  dice: Dice,
  clock: SimClock,
  fail: (what: string) => never,
): Promise<void> {
  const router = routers[dice.below(2)];
  const isSubmit = dice.chance(0.15);
  const leavesAfterMs = dice.chance(0.1) ? dice.below(60_000) : undefined;
  const onUnknown = dice.chance(0.2) ? ("buy-again" as const) : undefined;
  const options: RouterCallOptions = {
    metadata: callOf(plan, onUnknown),
    ...(plan.isKeyed && { idempotencyKey: plan.name }),
    ...(onUnknown && { onUnknown }),
  };
  await clock.sleep(dice.below(120_000));
  const begunAt = clock.now();
  const controller = new AbortController();
  const call: CallOptions = { ...options, signal: controller.signal };
  if (leavesAfterMs !== undefined) clock.after(leavesAfterMs, () => controller.abort("left"));
  try {
    if (isSubmit) await router?.submit({ prompt: plan.name }, call);
    else {
      await router?.generate({ prompt: plan.name }, call);
      plan.delivered += 1;
    }
  } catch (error) {
    if (!isImageError(error) && error !== "left") throw error;
    if (isImageError(error) && error.code === "budget_exceeded") refused.byBudget += 1;
  }
  // One wait of a poll, and one last create within its time.
  if (clock.now() - begunAt > timeoutMs + 20_000)
    fail(`${plan.name} took ${clock.now() - begunAt} ms`);
}

/** A person who looks orders of unknown fate up at their providers now and then, and says what is true. */
async function lookUp({ ledger, providers }: World, dice: Dice, clock: SimClock): Promise<void> {
  for (let times = 1 + dice.below(6); times > 0; times -= 1) {
    await clock.sleep(dice.below(60_000));
    for await (const { id, state, job } of ledger.entries()) {
      if (state !== "unknown" || dice.chance(0.3)) continue;
      const isBilled = providers.some(({ purchases }) =>
        purchases.some((each) => each.job === job),
      );
      try {
        await ledger.settle(id, { charged: isBilled ? "yes" : "no" });
      } catch (error) {
        // Somebody is at it, or has heard meanwhile, or nobody can tell.
        const expected: readonly unknown[] = ["invalid_request", "journal_failed"];
        if (!isImageError(error) || !expected.includes(error.code)) throw error;
      }
    }
  }
}

async function check(
  plans: readonly OrderPlan[],
  { providers, events, ledger, refusals: refused }: World,
  fail: (what: string) => never,
): Promise<Outcome> {
  const purchases = providers.flatMap((each) => each.purchases);
  let twice = 0;
  for (const plan of plans) {
    const [plain, bold] = [callOf(plan), callOf(plan, "buy-again")];
    const [first, second, ...others] = purchases
      .filter(({ order }) => order === plain || order === bold)
      .toSorted((a, b) => a.at - b.at);
    if (others.length > 0) fail(`${plan.name} was bought ${2 + others.length} times`);
    // A second purchase that somebody asked for, and that was lost, is asked for again under its own key.
    if (second?.order === plain && second.key !== `${plan.name}#again`)
      fail(`${plan.name} was bought again, and nobody asked for it`);
    if (plan.delivered > 0 && first === undefined)
      fail(`${plan.name} was delivered and not bought`);
    if (second !== undefined) twice += 1;
  }
  const sums = await ledger.store.sums({ tags: {}, rates: { USD: 1 } });
  const paid = purchases.reduce((sum, { price }) => sum + price, 0);
  if (paid > sums.charged + sums.unknown + sums.reserved + 1e-9)
    fail("the ledger knows of less than was paid");
  return {
    orders: plans.length,
    delivered: plans.filter(({ delivered }) => delivered > 0).length,
    purchases: purchases.length,
    boughtAgain: events.filter(({ type }) => type === "bought-again").length,
    twice,
    refusedByBudget: refused.byBudget,
  };
}
