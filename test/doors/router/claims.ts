import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type SandboxAccess, startSandbox } from "gpt-image-client/testing";

const script = fileURLToPath(new URL("claims-process.ts", import.meta.url));

/** Before and after each write of a journal: a claim, and of its client the marker and the job. */
export const claimPoints = [
  ...(["claim:before", "claim:after", "marker:before", "marker:after"] as const),
  ...(["accepted:before", "accepted:after", "noted:before", "noted:after"] as const),
  ...(["ended:before", "ended:after"] as const),
] as const;

export type ClaimPoint = (typeof claimPoints)[number];

export type ClaimJournal = { readonly directory: string } | { readonly url: string };

/** What a process is told to do. */
export interface ClaimPlan {
  readonly journal: ClaimJournal;
  readonly access: Readonly<Record<"shortapi" | "openaiCompatible", SandboxAccess>>;
  readonly victim?: { readonly key: string; readonly point: ClaimPoint };
}

/** What a process says. */
export type ClaimReport =
  | { readonly reached: ClaimPoint | "ready" }
  | { readonly key: string; readonly sha256: string }
  | { readonly key: string; readonly code: string; readonly charged: string };

/** What became of a key whose first process was killed at a point. */
export interface ClaimRow {
  readonly point: ClaimPoint;
  /** How many creates reached any provider. */
  readonly purchases: number;
  /** How many of those that came after it were given a picture, and how many pictures that were. */
  readonly delivered: number;
  readonly pictures: number;
  /** What the others were told. */
  readonly told: readonly string[];
}

class Router {
  readonly child: ChildProcess;
  readonly #reports: ClaimReport[] = [];
  #wake = () => {};

  constructor(plan: ClaimPlan) {
    this.child = spawn(process.execPath, ["--import", "tsx", script, JSON.stringify(plan)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    if (this.child.stdout === null) throw new Error("no output");
    createInterface(this.child.stdout).on("line", (line) => {
      this.#reports.push(JSON.parse(line));
      this.#wake();
    });
    this.child.once("exit", () => this.#wake());
  }

  async heard(isIt: (report: ClaimReport) => boolean): Promise<ClaimReport> {
    for (;;) {
      const report = this.#reports.find(isIt);
      if (report !== undefined) return report;
      if (this.child.exitCode !== null) throw new Error(`It ended with ${this.child.exitCode}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  take(key: string): void {
    this.child.stdin?.write(`${key}\n`);
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await ended;
  }
}

/**
 * For each point a process that is killed there, while three others come with the same key: before it is
 * dead, and after.
 */
export async function killAtClaims(
  journal: ClaimJournal,
  points: readonly ClaimPoint[] = claimPoints,
): Promise<readonly ClaimRow[]> {
  await using sandbox = await startSandbox({ jobDurationMs: 100, plainImages: true });
  const { shortapi, openaiCompatible } = sandbox;
  const plan = { journal, access: { shortapi, openaiCompatible } };
  const followers = [new Router(plan), new Router(plan), new Router(plan)];
  const rows: ClaimRow[] = [];
  try {
    for (const point of points) {
      const key = `key-${point.replace(":", "-")}`;
      const victim = new Router({ ...plan, victim: { key, point } });
      await victim.heard((report) => "reached" in report && report.reached === point);
      const [early, ...late] = followers;
      early?.take(key);
      await victim.kill();
      for (const each of late) each.take(key);
      const ends = await Promise.all(
        followers.map((each) => each.heard((report) => "key" in report && report.key === key)),
      );
      const pictures = ends.flatMap((end) => ("sha256" in end ? [end.sha256] : []));
      const isIts = (body: unknown) => JSON.stringify(body ?? "").includes(`test of ${key}.`);
      rows.push({
        ...{ point, delivered: pictures.length, pictures: new Set(pictures).size },
        purchases: sandbox.requests.filter(({ phase, body }) => phase === "create" && isIts(body))
          .length,
        told: ends.flatMap((end) => ("code" in end ? [`${end.code} ${end.charged}`] : [])),
      });
    }
  } finally {
    await Promise.all(followers.map((each) => each.kill()));
  }
  return rows;
}

/** A create that may have left cannot be told from one that did not: its marker alone is there. */
const unknown: readonly ClaimPoint[] = ["marker:after", "accepted:before"];

/** What is wrong with what became of the keys. */
export function faultsOf(rows: readonly ClaimRow[]): readonly string[] {
  return rows.flatMap((row) => {
    const { point, purchases, delivered, pictures, told } = row;
    const faults: string[] = [];
    if (purchases > 1) faults.push("bought twice");
    if (pictures > 1) faults.push("several pictures");
    if (delivered > 0 && purchases === 0) faults.push("a picture that nobody bought");
    if (told.some((each) => !each.endsWith(" unknown"))) faults.push("told otherwise");
    if (delivered < 3 && !unknown.includes(point)) faults.push("not delivered");
    return faults.map((fault) => `${point}: ${fault}: ${JSON.stringify(row)}`);
  });
}

export function linesOf(rows: readonly ClaimRow[]): string {
  return rows
    .map(({ point, purchases, delivered, told }) => {
      const others = told.length === 0 ? "" : `, ${told.length} told ${[...new Set(told)].join()}`;
      return `${point}: ${purchases} bought, ${delivered} of 3 delivered${others}`;
    })
    .join("\n");
}
