import { createImageClient, type Journal, memoryJournal, trinetra } from "gpt-image-client";
import { startSandbox } from "gpt-image-client/testing";
import { expect, test, vi } from "vitest";

/** Two jobs that ended, and the journal of both. */
async function twoJobs() {
  const sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true });
  const journal = memoryJournal();
  const provider = trinetra(sandbox.trinetra);
  const client = createImageClient({ provider, journal, poll: 20 });
  const results = [
    await client.generate({ prompt: "A web" }),
    await client.generate({ prompt: "A fox" }),
  ];
  await client.close();
  const [first, second] = results.map(({ job }) => job.id);
  return { sandbox, journal, provider, first: first ?? "", second: second ?? "" };
}

async function idsOf(journal: Journal, provider: ReturnType<typeof trinetra>, jobId: string) {
  await using client = createImageClient({ provider, journal });
  const found: string[] = [];
  for await (const job of client.recover({ jobId })) {
    await job.result();
    found.push(job.id);
  }
  return found;
}

test("recover with a job's id hands out that job alone, and lists nothing", async () => {
  const { sandbox, journal, provider, second } = await twoJobs();
  const list = vi.fn(journal.list);
  const clean = vi.fn(async () => {});
  expect(await idsOf({ ...journal, list, clean }, provider, second)).toEqual([second]);
  expect(list).not.toHaveBeenCalled();
  expect(clean).not.toHaveBeenCalled();
  await sandbox.close();
});

test.each(["nobody", "../nobody", ""])("recover of %j hands out nothing", async (jobId) => {
  const { sandbox, journal, provider } = await twoJobs();
  expect(await idsOf(journal, provider, jobId)).toEqual([]);
  await sandbox.close();
});

test("recover of one job is blind to those of another account", async () => {
  const { sandbox, journal, first } = await twoJobs();
  const other = trinetra({ ...sandbox.trinetra, apiKey: "another" });
  expect(await idsOf(journal, other, first)).toEqual([]);
  await sandbox.close();
});

test("recover finds a job whose first request has been settled away", async () => {
  const { sandbox, journal, provider, first } = await twoJobs();
  const record = await journal.read(`${first}.0`);
  if (typeof record !== "object" || record === null) throw new Error("no record");
  // As of a job of two requests, of which a person has said that the first was never accepted.
  const moved = { ...record, id: `${first}.1`, index: 1, split: [1, 1], images: [] };
  await journal.delete(`${first}.0`);
  // What was read is a record.
  await journal.create(moved as never);
  await using client = createImageClient({ provider, journal });
  const found: string[] = [];
  for await (const { id } of client.recover({ jobId: first })) found.push(id);
  expect(found).toEqual([first]);
  await sandbox.close();
});
