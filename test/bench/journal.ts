/** What a journal costs: the same generations with and without one, in turns. `npm run bench:journal` */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createImageClient, directoryJournal, trinetra } from "gpt-image-client";
import { startSandbox } from "gpt-image-client/testing";

const rounds = 5;
const jobs = 60;

await using sandbox = await startSandbox({ jobDurationMs: 0, plainImages: true });
const provider = trinetra(sandbox.trinetra);
const directory = await mkdtemp(join(tmpdir(), "journal-bench-"));

/** Milliseconds a generation, sixteen at once; without a journal the bytes are fetched all the same. */
async function measure(journal: ReturnType<typeof directoryJournal> | undefined): Promise<number> {
  const client = createImageClient({
    ...{ provider, poll: 0, concurrency: 16 },
    ...(journal !== undefined && { journal }),
  });
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: jobs }, async () => {
      const { image } = await client.generate({ prompt: "test" });
      await image.bytes();
    }),
  );
  return (performance.now() - startedAt) / jobs;
}

const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

await measure(undefined);
const without: number[] = [];
const withJournal: number[] = [];
for (let round = 0; round < rounds; round += 1) {
  without.push(await measure(undefined));
  withJournal.push(await measure(directoryJournal(join(directory, String(round)))));
}
await rm(directory, { recursive: true });

const ratios = withJournal.map((each, round) => each / (without[round] ?? Number.NaN));
console.log(`${jobs} generations of 1024 × 1024, 16 at once, median of ${rounds} rounds:`);
console.log(`  without a journal ${median(without).toFixed(1)} ms a generation`);
console.log(`  with a journal    ${median(withJournal).toFixed(1)} ms a generation`);
console.log(
  `  ratio             ${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)})`,
);
