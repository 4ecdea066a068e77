import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import { trinetra } from "../../src/providers/index";
import type { ImageEvent } from "../../src/types";
import { TestClock } from "../support/clock";
import { pixel, sendJson, startServer } from "../support/server";
import { prompt } from "../support/stage";

type Poll = { readonly status: string; readonly progress?: number } | "unavailable";

/** What the events of a job tell whose polls are answered with these, one after another. */
async function eventsOf(polls: readonly Poll[]) {
  let asked = 0;
  await using server = await startServer((request, response) => {
    if (request.method === "POST") return sendJson(response, { id: "job-7", status: "queued" });
    const poll = polls[asked];
    asked += 1;
    if (poll === "unavailable") return sendJson(response, {}, 503);
    if (poll !== undefined) return sendJson(response, { id: "job-7", ...poll });
    const url = `data:image/png;base64,${pixel.toString("base64")}`;
    return sendJson(response, { id: "job-7", status: "succeeded", output: { outputs: [{ url }] } });
  });
  const events: ImageEvent[] = [];
  const provider = trinetra({ baseURL: server.url, apiKey: "a-key-of-the-test" });
  const client = new ProviderClient({ provider, poll: 1_000 }, new TestClock());
  const job = await client.submit({ prompt }, { onEvent: (event) => events.push(event) });
  const progress: unknown[] = [];
  for (let count = 0; count <= polls.length; count += 1) {
    progress.push(
      await job.status().then(
        (status) => status.progress,
        () => "failed",
      ),
    );
  }
  const told = events
    .slice(2)
    .map((event) =>
      event.type === "status" ? [event.state, event.word, event.progress] : event.type,
    );
  return { told, progress, asked };
}

test("a status is told when its state or its word changes, and not once a poll", async () => {
  const { told, asked } = await eventsOf([
    ...[{ status: "queued" }, { status: "queued" }, { status: "running" }, { status: "running" }],
    ...[{ status: "polishing" }, { status: "polishing" }, { status: "running" }],
  ]);
  expect(asked).toBe(8);
  expect(told).toEqual([
    ...[
      ["queued", "queued", undefined],
      ["running", "running", undefined],
    ],
    ...[["running", "polishing", undefined], ["running", "running", undefined], "succeeded"],
  ]);
});

test("after a poll that failed the status is told again: the job is heard of once more", async () => {
  const { told } = await eventsOf([
    ...([{ status: "running" }, "unavailable", "unavailable", { status: "running" }] as const),
    ...[{ status: "running" }],
  ]);
  const running = ["running", "running", undefined];
  expect(told).toEqual([running, "retry", "retry", running, "succeeded"]);
});

test("progress that grows is told, and the status knows it at each poll", async () => {
  const { told, progress } = await eventsOf([
    ...[
      { status: "running", progress: 0.25 },
      { status: "running", progress: 0.25 },
    ],
    ...[{ status: "running", progress: 0.5 }],
  ]);
  expect(told).toEqual([
    ...[["running", "running", 0.25], ["running", "running", 0.5], "succeeded"],
  ]);
  expect(progress).toEqual([0.25, 0.25, 0.5, undefined]);
});
