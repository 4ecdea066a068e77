import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hit, type KillEnd, type Point, passes, points, type SignalName, signals } from "./kill";

// The keys of an object of ours.
const allPoints = Object.keys(points) as Point[];

const hits = (["trinetra", "openai"] as const).flatMap((name) =>
  allPoints
    .filter((point) => passes(name, point))
    .flatMap((point) => signals.map((signal) => [name, signal, point] as const)),
);

/** The one window in which nobody can know: the create was sent, and its response was torn off or lost. */
function mayBeUnknown(signal: SignalName, point: Point): boolean {
  const isBefore = ["price said", "create on its way", "create received"].includes(point);
  return isBefore && (signal === "SIGKILL" || signal === "SIGINT twice");
}

const ends = new Map<string, KillEnd>();
const directory = mkdtempSync(join(tmpdir(), "gpt-image-client-kill-"));

/** Most of the time they wait: so many processes at once. */
const atOnce = 6;

beforeAll(async () => {
  const left = [...hits];
  const worker = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const [name, signal, point] = next;
      const place = mkdtempSync(join(directory, "hit-"));
      ends.set(next.join(), await hit(name, point, signal, place));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}, 300_000);

afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
  const head = ["provider", "by", "hit at", "code", "recover", "creates", "purchases", "pictures"];
  const rows = hits.map((each) => {
    const end = ends.get(each.join());
    return [
      ...each,
      ...[end?.code ?? "killed", end?.recoverCode, end?.creates, end?.purchases, end?.pictures],
    ];
  });
  console.log(["", ...[head, ...rows].map((row) => `| ${row.join(" | ")} |`)].join("\n"));
});

describe("at most one purchase, and nothing that was bought is lost", () => {
  test.each(hits)("at %s, by %s, %s", (...each) => {
    const [, signal, point] = each;
    const end = ends.get(each.join());
    if (end === undefined) throw new Error("it was not hit");
    const { creates, purchases, pictures, code, recoverCode } = end;
    expect(creates).toBeLessThanOrEqual(1);
    expect(purchases).toBeLessThanOrEqual(1);
    // Node itself has no handler any more in the last steps of a process that has told all.
    if (point !== "all told") expect(code === null).toBe(signal === "SIGKILL");
    if (recoverCode === 0) expect(pictures).toBe(purchases);
    else {
      expect(recoverCode).toBe(5);
      expect(mayBeUnknown(signal, point)).toBe(true);
    }
    // What ended by itself has said what it cost.
    if (code === 0) expect(pictures).toBe(1);
    if (code === 1) expect(creates).toBe(0);
  });
});
