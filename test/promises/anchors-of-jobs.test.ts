import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { ImageJob } from "../../src/types";
import { TestClock } from "../support/clock";
import {
  allProviders,
  aMoment,
  failureOf,
  jobProviders,
  prompt,
  reasonOf,
  shortestMs,
  startStage,
  systemClock,
  unkeyed,
  until,
} from "../support/stage";

// ---- 1 ----

test.for(
  unkeyed.flatMap((name) => [
    { name, fault: "reset-before-acceptance" as const },
    { name, fault: "reset-after-acceptance" as const },
  ]),
)(
  "row 1: $name gets one create when its socket is reset ($fault), and the charge is unknown",
  async ({ name, fault }) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "create", fault, times: Infinity });
    const error = await failureOf(stage.client(name).generate({ prompt }));
    await aMoment();
    expect(stage.count("create")).toBe(1);
    expect(error).toMatchObject({ name: "SubmissionUnknownError", charged: "unknown" });
    expect(error.retryable).toBe(false);
    expect(error.job?.reference.tasks).toMatchObject([{ state: "unknown" }]);
    // The server knows better: this is why nobody may send it again.
    expect(stage.sandbox.jobs).toHaveLength(fault === "reset-after-acceptance" ? 1 : 0);
  },
);

test.for(["reset-before-acceptance", "reset-after-acceptance"] as const)(
  "row 1: aigptimage is sent the same X-Request-ID again after a %s, and bills once",
  async (fault) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: "aigptimage", phase: "create", fault, times: 2 });
    const { image } = await stage.client("aigptimage").generate({ prompt });
    expect(await image.info()).toMatchObject({ mediaType: "image/png" });
    const creates = stage.requests("create");
    expect(creates).toHaveLength(3);
    expect(new Set(creates.map((each) => each.headers["x-request-id"])).size).toBe(1);
    expect(creates[0]?.headers["x-request-id"]).toMatch(/\S/);
    expect(new Set(creates.map((each) => JSON.stringify(each.body))).size).toBe(1);
    expect(stage.sandbox.charges).toHaveLength(1);
  },
);

// ---- 2 ----

test.for(
  jobProviders.flatMap((name) => [
    { name, ownBody: true },
    { name, ownBody: false },
  ]),
)(
  "row 2: a poll of $name that answers 503 (own body: $ownBody) is one more poll and no second create",
  async ({ name, ownBody }) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    stage.sandbox.inject({ provider: name, phase: "poll", fault: "unavailable", ownBody });
    const { image } = await stage.client(name).generate({ prompt });
    expect((await image.bytes()).byteLength).toBeGreaterThan(0);
    expect(stage.count("poll")).toBe(2);
    expect(stage.count("create")).toBe(1);
    expect(stage.sandbox.charges).toHaveLength(1);
  },
);

// ---- 3 ----

test.for(allProviders)(
  "row 3: an image of %s whose download answers 502 twice is downloaded again, with one create",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 0, openaiAnswers: "url" });
    stage.sandbox.inject({
      ...{ provider: name, phase: "download", fault: "unavailable" },
      ...{ status: 502, times: 2 },
    });
    const { image } = await stage.client(name).generate({ prompt });
    const polls = stage.count("poll");
    expect(await image.info()).toMatchObject({ mediaType: "image/png" });
    expect(stage.count("download")).toBe(3);
    expect(stage.count("create")).toBe(1);
    expect(stage.count("poll")).toBe(polls);
    expect(stage.sandbox.charges).toHaveLength(1);
  },
);

// ---- 4 ----

test.for(jobProviders)(
  "row 4: a job of %s that was moderated ends at once in a ModerationError",
  async (name) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "poll", fault: "moderation" });
    const error = await failureOf(stage.client(name).generate({ prompt }));
    await aMoment();
    expect(error.name).toBe("ModerationError");
    expect(error.code).toBe("moderation");
    expect(stage.count("poll")).toBe(1);
    expect(stage.count("create")).toBe(1);
    expect(error.job?.reference.tasks).toMatchObject([{ state: "failed" }]);
  },
);

test("row 4: an unknown state word of a moderated kind is a ModerationError at trinetra and shortapi", async () => {
  for (const name of ["trinetra", "shortapi"] as const) {
    await using stage = await startStage();
    stage.sandbox.inject({
      ...{ provider: name, phase: "poll", fault: "unknown-state" },
      word: "moderated",
    });
    const error = await failureOf(stage.client(name).generate({ prompt }));
    expect(error.name).toBe("ModerationError");
    expect(stage.count("poll")).toBe(1);
  }
});

// ---- 5 ----

async function abortDuringWait(name: (typeof jobProviders)[number]): Promise<number> {
  await using stage = await startStage();
  const clock = new TestClock({ auto: false });
  const controller = new AbortController();
  const reason = { mine: true };
  let submitted: ImageJob | undefined;
  const onSubmitted = (job: ImageJob) => {
    submitted = job;
  };
  const client = stage.client(name, { poll: 60_000 }, clock);
  const options = { signal: controller.signal, onSubmitted };
  const call = reasonOf(client.generate({ prompt }, options));
  await until(() => submitted !== undefined);
  await aMoment();
  const arrived = stage.sandbox.requests.length;
  const abortedAt = performance.now();
  controller.abort(reason);
  expect(await call).toBe(reason);
  const tookMs = performance.now() - abortedAt;
  // Nothing is left that could send anything, however long one waits.
  expect(clock.pending).toBe(0);
  await clock.advance(3_600_000);
  await aMoment();
  expect(stage.sandbox.requests).toHaveLength(arrived);
  expect(stage.count("create")).toBe(1);
  expect(stage.count("poll")).toBe(0);
  return tookMs;
}

test.for(jobProviders)(
  "row 5: an abort during the wait for %s's next poll rejects within 20 ms with the caller's own reason",
  async (name) => {
    expect(await shortestMs(20, () => abortDuringWait(name))).toBeLessThan(20);
  },
);

const hanging = [
  { name: "trinetra", phase: "poll" },
  { name: "shortapi", phase: "poll" },
  { name: "aigptimage", phase: "poll" },
  { name: "openaiCompatible", phase: "create" },
  { name: "aigptimage", phase: "download" },
] as const;

async function abortDuringHang({ name, phase }: (typeof hanging)[number]): Promise<number> {
  await using stage = await startStage({ jobDurationMs: 0 });
  stage.sandbox.inject({ provider: name, phase, fault: "hang" });
  const controller = new AbortController();
  const reason = new Error("changed my mind");
  const saveTo = join(tmpdir(), "gpt-image-client-anchors");
  const client = stage.client(name, { poll: 10 }, systemClock);
  const call = reasonOf(client.generate({ prompt }, { signal: controller.signal, saveTo }));
  await until(() => stage.count(phase) === 1);
  const arrived = stage.sandbox.requests.length;
  const abortedAt = performance.now();
  controller.abort(reason);
  expect(await call).toBe(reason);
  const tookMs = performance.now() - abortedAt;
  await aMoment();
  expect(stage.sandbox.requests).toHaveLength(arrived);
  return tookMs;
}

test.for(hanging)(
  "row 5: an abort during a $phase of $name that hangs rejects within 20 ms, and nothing more is sent",
  async (which) => {
    expect(await shortestMs(20, () => abortDuringHang(which))).toBeLessThan(20);
  },
);
