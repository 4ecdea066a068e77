/** A queue delivers a message again after a crash, or twice at once: it is paid for once. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { createImageClient, directoryJournal, shortapi } from "gpt-image-client";
import { startSandbox } from "gpt-image-client/testing";

interface Message {
  readonly id: string;
  readonly prompt: string;
}

const directory = "output/idempotent-worker";
const message: Message = { id: "order-4711", prompt: "A red bicycle against a white wall" };
const [role, baseURL = "", apiKey = ""] = process.argv.slice(2);

/** Any number of deliveries, at once or after each other: one job, and the same picture each time. */
async function handle(access: { baseURL: string; apiKey: string }, { id, prompt }: Message) {
  const client = createImageClient({
    provider: shortapi(access),
    journal: directoryJournal(`${directory}/journal`),
  });
  // ShortAPI honours no idempotency key: the journal alone does it.
  const { image } = await client.generate(
    { prompt },
    {
      idempotencyKey: id,
      onEvent(event) {
        if (role === "dies" && event.type === "status") process.kill(process.pid, "SIGKILL");
      },
    },
  );
  return image.save(`${directory}/${id}.png`);
}

if (role === "dies") {
  await handle({ baseURL, apiKey }, message);
} else {
  await rm(directory, { recursive: true, force: true });
  await using sandbox = await startSandbox({ jobDurationMs: 2_500 });

  const access = [sandbox.shortapi.baseURL, sandbox.shortapi.apiKey];
  const worker = spawn(
    process.execPath,
    [...process.execArgv, fileURLToPath(import.meta.url), "dies", ...access],
    { stdio: "inherit" },
  );
  const [, signal] = await once(worker, "exit");
  console.log(`First delivery: the worker ended by ${signal}, with the job running.`);

  // Nobody acknowledged it, so the queue delivers it again, and once more for good measure.
  const files = await Promise.all([
    handle(sandbox.shortapi, message),
    handle(sandbox.shortapi, message),
  ]);
  console.log(`Delivered twice more: ${new Set(files).size} picture, ${files[0]}`);
  await handle(sandbox.shortapi, message);
  console.log("And once more, a day later: the same, from the journal.");
  console.log(`Charges at the provider: ${sandbox.charges.length}`);
}
