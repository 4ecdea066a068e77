/** A job outlives the process that paid for it: its reference is plain JSON, without key or prompt. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createImageClient, trinetra } from "gpt-image-client";
import { costText, startServices } from "./support";

await using services = await startServices({ jobDurationMs: 2_000 });
// The real service: `trinetra()`.
const provider = trinetra(services.trinetra);
const referenceFile = "output/resume/job.json";
await mkdir("output/resume", { recursive: true });

// ---- one process pays ----
{
  const client = createImageClient({ provider });
  const job = await client.submit(
    { prompt: "A paper boat on a still lake", aspectRatio: "3:2" },
    {
      // Awaited once the provider has accepted, before anything else: from here on, nothing that
      // happens to this process can lose the picture.
      onSubmitted: ({ reference }) => writeFile(referenceFile, JSON.stringify(reference, null, 2)),
    },
  );
  const { state } = await job.status();
  console.log(`One process: ${state}, written to ${referenceFile}. It ends here.`);
  await client.close();
}

// ---- another one, later, takes the picture home ----
{
  const client = createImageClient({ provider });
  console.log("Another process:");
  // The JSON may have been anywhere in between: it is checked, and an error names what is wrong.
  const job = client.resume(await readFile(referenceFile, "utf8"));
  for await (const event of job.events()) {
    console.log(event.type === "status" ? event.state : event.type);
  }
  const { image, cost } = await job.result();
  console.log(await image.save("output/resume/boat.png"), costText(cost));
}
