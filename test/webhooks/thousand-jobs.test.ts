import { setTimeout as sleep } from "node:timers/promises";
import type { ImageEvent } from "gpt-image-client";
import { expect, test, vi } from "vitest";
import { seededRandom } from "../support/random";
import {
  inject,
  makeClient,
  polls,
  posting,
  prompt,
  receiveWith,
  restart,
  sandbox,
  taskIdOf,
  until,
  useReceiver,
} from "./receiver-support";

useReceiver();

// ---- a thousand jobs ----

function groupBy<Item>(
  items: readonly Item[],
  nameOf: (item: Item) => string | undefined,
): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const name = nameOf(item) ?? "";
    groups.set(name, [...(groups.get(name) ?? []), item]);
  }
  return groups;
}

test("a thousand jobs, their webhooks late, lost, doubled and forged: each settles once, by one extra query at most", async () => {
  const backstopMs = 2_000;
  const jobsEach = 500;
  await restart({ jobDurationMs: 600 });
  const random = seededRandom(20_261_120);
  for (const provider of posting) {
    const forgeries =
      provider === "shortapi"
        ? (["unknown-job", "another-job", "wrong-token"] as const)
        : (["unknown-job", "another-job"] as const);
    for (let after = 0; after < jobsEach; after += 1) {
      const chance = random();
      const as = forgeries[Math.floor(random() * forgeries.length)] ?? "unknown-job";
      const delayMs = 300 + 2_500 * random();
      if (chance < 0.15) inject(provider, { fault: "late", delayMs }, { after });
      else if (chance < 0.3) inject(provider, { fault: "lost" }, { after });
      else if (chance < 0.45) inject(provider, { fault: "twice" }, { after });
      else if (chance < 0.7) inject(provider, { fault: "forged", as }, { after });
    }
  }

  const ends = new Map<string, number>();
  const onEvent = ({ type, jobId }: ImageEvent) => {
    if (type === "succeeded" || type === "failed") ends.set(jobId, (ends.get(jobId) ?? 0) + 1);
  };
  const onSettled = vi.fn();
  const webhooks = { backstopMs, onSettled };
  const receivers = new Map(
    posting.map((name) => [
      name,
      makeClient(name, { poll: 100, concurrency: 100, webhooks, onEvent }),
    ]),
  );
  // One address for both: what is another client's is unknown to a client.
  receiveWith({
    handle: () => Promise.reject(new Error("not called")),
    listener(request, response) {
      const name = request.url?.includes("token=") ? "shortapi" : "trinetra";
      receivers.get(name)?.webhooks.listener(request, response);
    },
  });
  const startedAt = Date.now();
  const results = await Promise.all(
    [...receivers.values()].flatMap((client) =>
      Array.from({ length: jobsEach }, () => client.generate({ prompt })),
    ),
  );
  const tookMs = Date.now() - startedAt;
  // The late ones and the doubles, which come after the end.
  await sleep(2_500);
  await until(() => sandbox.webhooks.every(({ status }) => status !== undefined));

  const calls = groupBy(sandbox.webhooks, ({ jobId }) => jobId);
  const asked = groupBy(
    sandbox.requests.filter(({ phase }) => phase === "poll"),
    ({ jobId }) => jobId,
  );
  const rows = results.map(({ job, provider, timing }) => {
    const id = taskIdOf(job);
    const told = calls.get(id) ?? [];
    const fault = told[0]?.fault ?? (told.length === 0 ? "lost" : "on time");
    const queries = asked.get(id)?.length ?? 0;
    const backstops = Math.floor(timing.durationMs / backstopMs);
    return {
      ...{ provider, fault, queries, durationMs: timing.durationMs },
      // The query that sees the end is needed, whoever brings it about.
      extra: queries - Math.max(1, backstops),
      settled: ends.get(job.id),
    };
  });
  const figures: Record<string, object> = {};
  for (const [kind, each] of groupBy(rows, ({ provider, fault }) => `${provider} ${fault}`)) {
    const sum = (pick: (row: (typeof rows)[number]) => number) =>
      each.reduce((total, row) => total + pick(row), 0);
    figures[kind] = {
      jobs: each.length,
      "settled once": each.filter(({ settled }) => settled === 1).length,
      queries: sum(({ queries }) => queries),
      "extra, most": Math.max(...each.map(({ extra }) => extra)),
      "jobs with one extra": each.filter(({ extra }) => extra > 0).length,
      "mean s": Number((sum(({ durationMs }) => durationMs) / each.length / 1_000).toFixed(2)),
      "longest s": Math.max(...each.map(({ durationMs }) => durationMs)) / 1_000,
    };
  }
  console.table(Object.fromEntries(Object.entries(figures).sort()));
  const posted = sandbox.webhooks.length;
  const forged = sandbox.webhooks.filter((call) => call.forged).length;
  const slowest = Math.max(...sandbox.webhooks.map(({ answeredAfterMs = 0 }) => answeredAfterMs));
  console.log(
    `${results.length} jobs in ${tookMs} ms: ${posted} calls (${forged} forged), the slowest answered after ${slowest} ms; ` +
      `${polls()} queries, ${rows.filter(({ extra }) => extra > 0).length} of them extra; ${sandbox.charges.length} charges`,
  );

  expect(rows).toHaveLength(2 * jobsEach);
  expect(new Set(results.map(({ job }) => taskIdOf(job))).size).toBe(2 * jobsEach);
  expect(rows.filter(({ settled }) => settled !== 1)).toEqual([]);
  expect(rows.filter(({ extra }) => extra > 1)).toEqual([]);
  expect(sandbox.webhooks.filter(({ status }) => status !== 204)).toEqual([]);
  expect(sandbox.charges).toHaveLength(2 * jobsEach);
  expect(onSettled).not.toHaveBeenCalled();
}, 240_000);
