/**
 * A day of 100,000 orders over four providers with outages, limits and prices, on a clock that jumps:
 * `npm run docs:router`. Writes the plot of docs/router.md, and prints its tables.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { isImageError } from "gpt-image-client";
import { memoryLedger } from "gpt-image-client/router";
import { routerOn } from "../../../src/doors/router/router";
import { seededRandom } from "../../support/random";
import { dayPlot, type Slot } from "./day-plot";
import { type Fate, ModelClient, refusals } from "./model-client";
import { SimClock } from "./sim-clock";

const orders = Number(process.argv[2] ?? 100_000);
const hourMs = 3_600_000;
const clock = new SimClock();
const random = seededRandom(20_261_129);

/** Prices in USD, and how many creates a minute each takes. */
const places = {
  low: { price: 0.04, perMinute: 70 },
  fair: { price: 0.06, perMinute: 60 },
  solid: { price: 0.08, perMinute: 200 },
  dear: { price: 0.12, perMinute: 1_000 },
} as const;
type Name = keyof typeof places;
const names: readonly Name[] = ["low", "fair", "solid", "dear"];

/** What is wrong, where, from and to which hour. */
const faults: readonly { name: Name; kind: Kind; from: number; to: number }[] = [
  { name: "low", kind: "outage that says so", from: 6, to: 7.5 },
  { name: "solid", kind: "outage of unknown fate", from: 12, to: 12.5 },
  { name: "low", kind: "empty account", from: 15, to: 17 },
];

type Kind =
  | "none"
  | "rate limit"
  | "outage that says so"
  | "outage of unknown fate"
  | "empty account"
  | "unbilled failure"
  | "moderation";

interface Order {
  readonly needsMask: boolean;
  readonly isOffensive: boolean;
  readonly best: number;
  fault: Kind;
  price?: number;
}

const creates = new Map<string, number>();
const minuteOf = () => Math.floor(clock.now() / 60_000);
const countOf = (name: Name) => creates.get(`${name} ${minuteOf()}`) ?? 0;
const faultAt = (name: Name) => {
  const hour = clock.now() / hourMs;
  return faults.find((each) => each.name === name && each.from <= hour && hour < each.to)?.kind;
};
const canMask = (name: Name) => name === "solid" || name === "dear";

/** Whose create is being decided on: it is, the moment that it was asked. */
let current: Order | undefined;
const met = (kind: Kind) => {
  if (current !== undefined && current.fault === "none") current.fault = kind;
};

function fateAt(name: Name): Fate {
  const durationMs = 8_000 + random() * 50_000;
  const fault = faultAt(name);
  if (fault !== undefined) {
    met(fault);
    if (fault === "empty account") return { kind: "refused", error: refusals.empty(name) };
    if (fault === "outage that says so")
      return { kind: "refused", error: refusals.unavailable(name) };
    return { kind: "lost", isTaken: random() < 0.5, delayMs: 2_000 };
  }
  const key = `${name} ${minuteOf()}`;
  const count = countOf(name);
  if (count >= places[name].perMinute) {
    met("rate limit");
    const retryAfterMs = 60_000 - (clock.now() % 60_000);
    return { kind: "refused", error: refusals.rateLimited(name, retryAfterMs) };
  }
  creates.set(key, count + 1);
  if (current?.isOffensive) {
    met("moderation");
    return { kind: "refused", error: refusals.moderated(name) };
  }
  if (random() < 0.005) {
    met("unbilled failure");
    return { kind: "failed", durationMs };
  }
  return { kind: "ok", durationMs };
}

const clients = names.map(
  (name) =>
    new ModelClient({
      ...{ name, clock, price: { amount: places[name].price, unit: "USD", basis: "list" } },
      fate: () => fateAt(name),
      cannot: ({ mask }) => (mask !== undefined && !canMask(name) ? "mask" : undefined),
      onAsked: ({ metadata }) => {
        current = all[Number(metadata)];
      },
    }),
);

const ledger = memoryLedger();
const budget = [{ amount: 100_000, unit: "USD", per: "day" } as const];
const router = routerOn({ clients, sort: "price", ledger, budget }, { clock, random });
const all: Order[] = [];
const slots: Slot[] = Array.from({ length: 144 }, () => ({
  counts: {},
  paid: 0,
  best: 0,
  asked: 0,
}));
/** What comes after midnight is counted, and not drawn. */
const slotAt = (at: number): Slot | undefined => slots[Math.floor(at / 600_000)];

/** What the cheapest client that can do it, is up and has room would cost just now. */
function cheapestNow(needsMask: boolean): number {
  const able = names.filter(
    (name) =>
      (!needsMask || canMask(name)) &&
      faultAt(name) === undefined &&
      countOf(name) < places[name].perMinute,
  );
  return Math.min(...able.map((name) => places[name].price));
}

async function order(index: number): Promise<void> {
  const needsMask = random() < 0.1;
  const made: Order = {
    needsMask,
    isOffensive: random() < 0.01,
    best: cheapestNow(needsMask),
    fault: "none",
  };
  all[index] = made;
  const slot = slotAt(clock.now());
  if (slot !== undefined) slot.asked += 1;
  const request = {
    prompt: "a fox",
    ...(needsMask && { images: ["https://a.test/b.png"], mask: "https://a.test/m.png" }),
  };
  try {
    const call = { metadata: index };
    const { provider } = needsMask
      ? await router.edit({ ...request, images: ["https://a.test/b.png"] }, call)
      : await router.generate({ prompt: "a fox" }, call);
    const name = names.find((each) => each === provider) ?? "low";
    made.price = places[name].price;
    if (slot === undefined) return;
    slot.counts[name] = (slot.counts[name] ?? 0) + 1;
    slot.paid += made.price;
    slot.best += made.best;
  } catch (error) {
    if (!isImageError(error)) throw error;
  }
}

/** More by day than by night. */
const rateAt = (hour: number) => 1 + 0.6 * Math.sin(((hour - 8) / 24) * 2 * Math.PI);

async function arrive(): Promise<void> {
  const works: Promise<void>[] = [];
  const meanMs = (24 * hourMs) / orders;
  for (let index = 0; index < orders; index += 1) {
    const gapMs = (-Math.log(1 - random()) * meanMs) / rateAt((clock.now() / hourMs) % 24);
    await clock.sleep(gapMs);
    works.push(order(index));
  }
  await Promise.all(works);
}

const startedAt = performance.now();
await clock.run(arrive());
const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);

const purchases = new Map<number, number>();
for (const { order: index } of clients.flatMap((client) => client.purchases)) {
  purchases.set(Number(index), (purchases.get(Number(index)) ?? 0) + 1);
}
const boughtOf = (index: number) => purchases.get(index) ?? 0;
console.log(`${orders} orders in ${seconds} s\n`);
console.log(
  "| first fault on its way | orders | delivered | bought |\n| --- | ---: | ---: | ---: |",
);
for (const kind of [...new Set(all.map(({ fault }) => fault))].sort()) {
  const of = [...all.entries()].filter(([, { fault }]) => fault === kind);
  const delivered = of.filter(([, { price }]) => price !== undefined).length;
  const bought = of.reduce((sum, [index]) => sum + boughtOf(index), 0);
  const share = `${((100 * delivered) / of.length).toFixed(1)} %`;
  console.log(`| ${kind} | ${of.length} | ${delivered} (${share}) | ${bought} |`);
}
const most = Math.max(...purchases.values());
const wrong = [...all.entries()].filter(
  ([index, { price }]) => price !== undefined && boughtOf(index) !== 1,
);
const paid = all.reduce((sum, { price = 0 }) => sum + price, 0);
const best = all.reduce((sum, each) => sum + (each.price === undefined ? 0 : each.best), 0);
console.log(
  `\nPurchases an order: at most ${most}; delivered and not bought exactly once: ${wrong.length}`,
);
console.log(
  `Paid ${paid.toFixed(2)} USD; the cheapest able and up at each arrival: ${best.toFixed(2)} USD; ratio ${(paid / best).toFixed(4)}`,
);
console.table(
  await ledger
    .totals({ by: ["client", "state"] })
    .then((rows) => rows.map(({ group, ...rest }) => ({ ...group, ...rest }))),
);
const path = fileURLToPath(new URL("../../../docs/router-day.svg", import.meta.url));
writeFileSync(path, dayPlot(slots, names, faults));
