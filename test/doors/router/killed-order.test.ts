import { createImageClient, memoryJournal, openai } from "gpt-image-client";
import { createImageRouter, memoryLedger } from "gpt-image-client/router";
import { startSandbox } from "gpt-image-client/testing";
import { expect, test, vi } from "vitest";
import { listOf } from "./stage";

test("an order names its job as its create leaves, so that one that was killed is found again", async () => {
  await using sandbox = await startSandbox({ plainImages: true });
  sandbox.inject({ provider: "openaiCompatible", phase: "create", fault: "hang" });
  const journal = memoryJournal();
  const ledger = memoryLedger();
  const provider = openai(sandbox.openai);
  const killed = createImageRouter({
    clients: [createImageClient({ provider, journal })],
    ledger,
  });
  const lost = killed.generate({ prompt: "A web" }).catch(() => {});
  await vi.waitFor(() => expect(sandbox.requests).toHaveLength(1), 20_000);
  // Copies of what lies on the disk at this moment: nothing of this process's end is in them.
  const [entry] = await listOf(ledger.entries());
  const [record] = await listOf(journal.list());
  expect(entry).toMatchObject({ state: "reserved", job: record?.id.replace(/\.0$/, "") });
  await killed.close({ timeoutMs: 1 });
  await lost;
});
