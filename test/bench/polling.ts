/**
 * `npm run bench:polling`: the learned schedule against the exact optimum, on a virtual clock.
 *
 * Every ratio compares at equal polls a job and at the same floor: the delay of a contender, by the
 * delay of the exact optimum that makes as many polls (read off the optimum's frontier, which is
 * worked out by dynamic programming for every worth of a poll). Delay and polls of a schedule are
 * integrals over the true distribution; chance is in the jobs that it has learned from alone.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { learnedSchedule } from "../../src/schedule/learned-schedule";
import { fixedSchedule, type PollSchedule } from "../../src/schedule/schedule";
import { entries, type Family } from "./polling/families";
import { report, type Series } from "./polling/plot";
import {
  floorMs,
  type Known,
  know,
  measure,
  ratioOf,
  type Summary,
  scalesMs,
  summary,
  trials,
  untaughtRatio,
} from "./polling/simulation";
import type { Outcome } from "./polling/truth";

const seeds = Number(process.argv[2] ?? 200);
/** What no target hangs on is measured with fewer. */
const fewSeeds = Math.ceil(seeds / 4);
const typicalMs = 60_000;
const jobs = 30;
const worths = [0.03, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6];

const backOff: PollSchedule = {
  next: ({ attempt }) => Math.min(30_000, 1_000 * 1.5 ** attempt),
};

const simple: readonly (readonly [name: string, schedule: PollSchedule, leastMs: number])[] = [
  ["fixed 0.5 s", fixedSchedule(500), 500],
  ["fixed 1 s", fixedSchedule(1_000), floorMs],
  ["fixed 2.5 s", fixedSchedule(2_500), floorMs],
  ["back-off", backOff, floorMs],
];

const knownFamilies = new Map<string, Known>();

function knownOf(family: Family, leastMs = floorMs): Known {
  const key = `${family.name} ${family.scaleMs} ${leastMs}`;
  const known = knownFamilies.get(key) ?? know(family, leastMs);
  knownFamilies.set(key, known);
  return known;
}

const two = (value: number) => value.toFixed(2);
const three = (value: number) => value.toFixed(3);
const costs = ({ polls, delayMs }: Outcome) => `${polls.toFixed(1)} / ${two(delayMs / 1000)} s`;
const mean = (outcomes: readonly Outcome[]): Outcome => ({
  polls: summary(outcomes.map(({ polls }) => polls)).mean,
  delayMs: summary(outcomes.map(({ delayMs }) => delayMs)).mean,
});

type Row = Record<string, string>;
let missed = 0;

function verdict(found: Summary, limit: number | undefined, limit90?: number): string {
  if (limit === undefined) return "no target";
  const met = found.mean <= limit && (limit90 === undefined || found.p90 <= limit90);
  if (!met) missed += 1;
  return `${met ? "met" : "MISSED"}: ≤ ${limit}${limit90 === undefined ? "" : `, p90 ≤ ${limit90}`}`;
}

const spread = ({ mean: middle, p90, min, max }: Summary): Row => ({
  ...{ mean: three(middle), p90: three(p90), min: three(min), max: three(max) },
});

const tables: [title: string, rows: Row[]][] = [];

function table(title: string, rows: Row[]): void {
  console.log(`\n${title}`);
  console.table(Object.fromEntries(rows.map(({ family = "", ...row }) => [family, row])));
  tables.push([title, rows]);
}

function learnedTable(scaleMs: number, secondsPerPoll?: number, limits = true): void {
  const rows = entries.map(({ make, limit }) => {
    const family = make(scaleMs);
    const found = trials(
      knownOf(family),
      [{ family, jobs }],
      limits ? seeds : fewSeeds,
      secondsPerPoll,
    );
    const ratios = summary(found.map(({ ratio }) => ratio));
    return {
      family: family.name,
      ...spread(ratios),
      "polls / delay": costs(mean(found.map(({ outcome }) => outcome))),
      ...(limits && { target: verdict(ratios, limit, limit && 1.35) }),
    };
  });
  const worth = secondsPerPoll === undefined ? "" : `, secondsPerPoll ${secondsPerPoll}`;
  table(`After ${jobs} jobs, by the optimum (scale ${scaleMs / 1000} s${worth})`, rows);
}

function contenderTable(): void {
  const rows = entries.map(({ make }) => {
    const family = make(typicalMs);
    const cell = (schedule: PollSchedule, leastMs = floorMs) => {
      const known = knownOf(family, leastMs);
      const outcome = measure(schedule, known.truth);
      return `${two(ratioOf(known, outcome))} (${costs(outcome)})`;
    };
    return {
      family: family.name,
      ...Object.fromEntries(simple.map(([name, each, leastMs]) => [name, cell(each, leastMs)])),
      unlearned: cell(learnedSchedule()),
    };
  });
  table("Contenders by the optimum with as many polls (polls a job / mean delay)", rows);
}

function untaughtTable(): void {
  const rows = entries.map(({ make }) => {
    const ratios = summary(scalesMs.map((scaleMs) => untaughtRatio(make(scaleMs))));
    const worst = { ...ratios, mean: ratios.max };
    const { p90: _, ...row } = spread(ratios);
    return { family: make(typicalMs).name, ...row, "target for max": verdict(worst, 1.1) };
  });
  table(
    "Before learning, by the fixed interval with as many polls (13 scales, 15 s to 240 s)",
    rows,
  );
}

function driftTable(title: string, before: number, factor: number, limit?: number): void {
  const rows = entries.map(({ make }) => {
    const [family, drifted] = [make(typicalMs), make(typicalMs * factor)];
    const lessons = [
      { family, jobs: before },
      { family: drifted, jobs },
    ];
    const ratios = summary(
      trials(knownOf(drifted), lessons, limit ? seeds : fewSeeds).map(({ ratio }) => ratio),
    );
    return { family: family.name, ...spread(ratios), target: verdict(ratios, limit) };
  });
  table(title, rows);
}

/** Delay against polls for one family: curves where a contender has a knob, points where it has none. */
function seriesOf(family: Family): Series[] {
  const known = knownOf(family);
  const few = Math.min(seeds, 20);
  const fixedMs = Array.from({ length: 25 }, (_, step) => 1_000 * 1.17 ** step);
  const learned = (taught: number) =>
    worths.map((secondsPerPoll) => {
      const found = trials(known, [{ family, jobs: taught }], taught ? few : 1, secondsPerPoll);
      return mean(found.map(({ outcome }) => outcome));
    });
  return [
    { name: "exact optimum", kind: "line", points: known.frontier },
    { name: `ours after ${jobs} jobs`, kind: "line", points: learned(jobs) },
    { name: "ours unlearned", kind: "line", points: learned(0) },
    {
      name: "any fixed interval",
      kind: "line",
      points: fixedMs.map((delayMs) => known.truth.outcome(() => delayMs)),
    },
    ...simple.map(([name, schedule]) => ({
      ...{ name, kind: "point" as const, points: [measure(schedule, known.truth)] },
    })),
  ];
}

console.log(`Mean of ${seeds} seeds; floor ${floorMs} ms; Node ${process.version}`);
contenderTable();
for (const scaleMs of [typicalMs, 20_000, 180_000]) learnedTable(scaleMs);
for (const secondsPerPoll of [0.05, 0.4]) learnedTable(typicalMs, secondsPerPoll, false);
untaughtTable();
driftTable("Drift: 30 jobs, the median doubles, 30 more", 30, 2, 1.3);
driftTable("Drift: 37 jobs, the median doubles, 30 more", 37, 2);
driftTable("Drift: 100 jobs, the median doubles, 30 more", 100, 2);
driftTable("Drift: 30 jobs, the median halves, 30 more", 30, 0.5);

const output = new URL("../../output/", import.meta.url);
mkdirSync(output, { recursive: true });
const file = fileURLToPath(new URL("polling.html", output));
const panels = entries.map(({ make }) => {
  const family = make(typicalMs);
  return { title: family.name, series: seriesOf(family) };
});
writeFileSync(file, report(panels, tables));
console.log(`\n${missed === 0 ? "Every target is met" : `${missed} targets are missed`}; ${file}`);
