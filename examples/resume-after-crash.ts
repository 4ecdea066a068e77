/** A process that is killed in the middle of a paid job: the next one has the picture, for one charge. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { createImageClient, directoryJournal, trinetra } from "gpt-image-client";
import { startSandbox } from "gpt-image-client/testing";

const directory = "output/resume-after-crash";
const [role, baseURL = "", apiKey = ""] = process.argv.slice(2);

/** The real service: `trinetra()`. */
function openClient(access: { baseURL: string; apiKey: string }) {
  return createImageClient({
    provider: trinetra(access),
    // Every create is written down before it leaves, and every picture before `generate` resolves.
    journal: directoryJournal(`${directory}/journal`),
  });
}

if (role === "worker") {
  await openClient({ baseURL, apiKey }).generate(
    { prompt: "A lighthouse in a storm", aspectRatio: "3:2" },
    {
      onEvent(event) {
        console.log(`  worker ${process.pid}: ${event.type}`);
        // Not even a handler of its own can run after this.
        if (event.type === "status") process.kill(process.pid, "SIGKILL");
      },
    },
  );
} else {
  await rm(directory, { recursive: true, force: true });
  await using sandbox = await startSandbox({ jobDurationMs: 3_000 });

  console.log("A worker generates:");
  const access = [sandbox.trinetra.baseURL, sandbox.trinetra.apiKey];
  const worker = spawn(
    process.execPath,
    [...process.execArgv, fileURLToPath(import.meta.url), "worker", ...access],
    { stdio: "inherit" },
  );
  const [, signal] = await once(worker, "exit");
  console.log(`  it ended by ${signal}`);

  console.log("It is started again, and asks what became of it:");
  const client = openClient(sandbox.trinetra);
  for await (const job of client.recover()) {
    const { image, cost } = await job.result();
    const file = await image.save(`${directory}/lighthouse.png`);
    console.log(`  job ${job.id}: ${cost?.amount} ${cost?.unit}, ${file}`);
    // It is where it belongs: the journal may forget it.
    await job.release();
  }
  console.log(`Charges at the provider: ${sandbox.charges.length}`);
}
