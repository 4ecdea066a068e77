/** Twelve pictures, four at a time. One fails: the other eleven are paid for, and are kept. */
import { createImageClient, type ImageEvent, shortapi } from "gpt-image-client";
import { costText, startServices } from "./support";

await using services = await startServices();
services.inject({ provider: "shortapi", phase: "create", fault: "failure", after: 6 });

// The real service: `provider: shortapi()`. It makes one picture a task, so 12 become 12 tasks.
const client = createImageClient({ provider: shortapi(services.shortapi), concurrency: 4 });

const n = 12;
const progress = { running: new Set<number>(), done: 0, failed: 0 };

const { images, failures, cost } = await client.generate(
  { prompt: "A bird of the Himalayas, watercolour", n },
  { saveTo: "output/many-images", onEvent: showProgress },
);

console.log();
for (const { file } of images) console.log(file);
console.log(`\n${images.length} of ${n} pictures, for ${costText(cost)}.`);
for (const { code, charged, message } of failures) {
  console.log(`1 missing: ${code}, charged: ${charged}. ${message}`);
}

/** A bar that is redrawn on a terminal; elsewhere, such as in a log, a line for each that ends. */
function showProgress({ type, task }: ImageEvent): void {
  if (type === "submitting") progress.running.add(task);
  else if (type === "succeeded") progress.done += 1;
  else if (type === "failed") progress.failed += 1;
  else return;
  const ended = type !== "submitting";
  if (ended) progress.running.delete(task);

  const { done, failed, running } = progress;
  const waiting = n - done - failed - running.size;
  const bar =
    "█".repeat(done) + "×".repeat(failed) + "▒".repeat(running.size) + "·".repeat(waiting);
  const line = `${bar}  ${done} done, ${failed} failed, ${running.size} running`;
  if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${line}`);
  else if (ended) console.log(line);
}
