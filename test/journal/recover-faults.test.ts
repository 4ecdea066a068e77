import { once } from "node:events";
import { createImageClient, type Journal, memoryJournal, trinetra } from "gpt-image-client";
import { startSandbox } from "gpt-image-client/testing";
import { expect, test } from "vitest";

const fail = () => Promise.reject(new Error("the disk is full"));

test.each([
  ["cleaned", { clean: fail }],
  ["pruned", { prune: fail }],
])(
  "a journal that cannot be %s hands out the jobs that were paid for, and warns",
  async (done, broken) => {
    await using sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true });
    const kept = memoryJournal();
    const provider = trinetra(sandbox.trinetra);
    const first = createImageClient({ provider, journal: kept, poll: 20 });
    const { job } = await first.generate({ prompt: "A web" });
    await first.close();
    const journal: Journal = { ...kept, ...broken };
    const next = createImageClient({ provider, journal, poll: 20 });
    const warned = once(process, "warning");
    const found: string[] = [];
    for await (const { id } of next.recover()) found.push(id);
    expect(found).toEqual([job.id]);
    expect(String((await warned)[0])).toMatch(`could not be ${done}: `);
    await next.close();
  },
);
