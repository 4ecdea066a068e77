/**
 * One contender does one work once, in this process of its own, and tells its parent what it took.
 *
 * Memory is the operating system's own peak of this process, above what it held when it was ready.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { cpuMs, peakBytes } from "./process-figures.mjs";

const { contender, work, picture, atOnce, count, warmUp, ...settings } = JSON.parse(
  process.argv[2],
);
const make = (await import(`./contenders/${contender}.mjs`))[work];

/** Does the work `total` times, some at once, and gives all results. */
async function repeat(run, total) {
  const results = [];
  let begun = 0;
  const next = async () => {
    while (begun < total) {
      const index = begun;
      begun += 1;
      results.push(await run("A dew-covered web at sunrise", index));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, next));
  return results;
}

/** What came out, told apart by its bytes. */
async function hashOf(result) {
  const isFile = work.startsWith("save");
  const content = isFile ? await readFile(result) : result;
  return createHash("sha256").update(content).digest("hex");
}

// Always small: it must not raise the peak. Then a pause: V8 compiles undici's parser in the background
// once it is warm, which takes some 30 MB, of everyone, for as long as that lasts.
await repeat(make({ ...settings, picture: "small" }), warmUp);
await sleep(1_000);
const run = make({ ...settings, picture });
global.gc();
const idleBytes = process.memoryUsage().rss;
const startedCpuMs = cpuMs();
const startedAt = performance.now();
const results = await repeat(run, count);
const wallMs = performance.now() - startedAt;
const spentCpuMs = cpuMs() - startedCpuMs;
const peakAboveIdleBytes = peakBytes() - idleBytes;

const hashes = new Set();
for (const result of results) hashes.add(await hashOf(result));
const figures = { cpuMs: spentCpuMs / count, wallMs: wallMs / count, peakAboveIdleBytes };
process.send({ figures, hashes: [...hashes], results: results.length }, () => process.exit());
