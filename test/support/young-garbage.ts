import { setFlagsFromString } from "node:v8";
import { collectGarbage } from "./garbage";

const collectYoung = () => collectGarbage({ type: "minor" });

/** How many are there at once, and how many come and go. */
const atOnce = 16;
const count = 4_000;

/**
 * How much the heap grows at most, while nothing but collections of young objects run, as thousands come and
 * go, each with 10 KB. Without V8's TurboFan: in a process where it has compiled what other tests ran, and
 * compiles this loop too, whatever is kept for a moment may wait for a full collection, even in a list whose
 * nodes are emptied (Node 24.21, every other run).
 */
export function youngGrowthOf(come: (ballast: object, index: number) => () => void): number {
  setFlagsFromString("--no-turbofan");
  try {
    return growthOf(come);
  } finally {
    setFlagsFromString("--turbofan");
  }
}

function growthOf(come: (ballast: object, index: number) => () => void): number {
  const leaving: (() => void)[] = [];
  let least = Number.POSITIVE_INFINITY;
  let growth = 0;
  for (let index = 0; index < count; index += 1) {
    leaving.push(
      come(
        Array.from({ length: 10 * 128 }, () => index),
        index,
      ),
    );
    if (leaving.length > atOnce) leaving.shift()?.();
    if (index % 50 > 0) continue;
    collectYoung();
    // What is there for two collections is old.
    if (index % 1_000 === 0) collectYoung();
    const { heapUsed } = process.memoryUsage();
    least = Math.min(least, heapUsed);
    growth = Math.max(growth, heapUsed - least);
  }
  return growth;
}
