import {
  GenerationFailedError,
  type ImageClient,
  type ImageJob,
  type ImageResult,
  TimeoutError,
} from "gpt-image-client";
import { fakeImageClient } from "gpt-image-client/testing";
import { describe, expect, test } from "vitest";
import { settled, TestClock } from "./clock";
import { Stage, started } from "./held";

/** A client that gave up on an order whose job goes on, and that is asked after it. */
function resumable(outcome: () => Promise<ImageResult>, state: "succeeded" | "failed") {
  const resumed: (() => void)[] = [];
  const resume = () =>
    ({
      status: async () => ({ state }),
      result: async () => {
        await new Promise<void>((resolve) => resumed.push(resolve));
        return outcome();
      },
      // What the gateway asks of a job, and no more.
    }) as unknown as ImageJob;
  return { resumed, resume: resume as ImageClient["resume"] };
}

const reference = { v: 1 } as never;

async function timedOut(outcome: () => Promise<ImageResult>, state: "succeeded" | "failed") {
  const { resumed, resume } = resumable(outcome, state);
  const stage = new Stage({}, { resumable: true }, new TestClock(), { resume });
  const first = stage.ask({ key: "k" });
  await started(stage, 1);
  await stage.held.calls[0]?.options?.onSubmitted?.({ reference } as never);
  await stage.end(0, new TimeoutError({ charged: "unknown", timeoutMs: 1 }));
  const { body } = await first.received();
  return { stage, resumed, id: body.error?.job ?? "" };
}

describe("a job whose order ended before it did", () => {
  test("is fetched once for two who ask at once, and both have its pictures", async () => {
    const fake = fakeImageClient();
    const outcome = () => fake.generate({ prompt: "A web" });
    const { stage, resumed, id } = await timedOut(outcome, "succeeded");
    const both = [stage.job(id), stage.job(id)];
    while (resumed.length === 0) await settled();
    await settled();
    expect(resumed).toHaveLength(1);
    for (const resume of resumed) resume();
    const [one, other] = await Promise.all(both);
    expect(one?.body.data).toHaveLength(1);
    expect(other?.body.data).toEqual(one?.body.data);
    // And so has whoever comes later, by the job or by the key.
    expect((await stage.job(id)).body.data).toEqual(one?.body.data);
    expect((await stage.ask({ key: "k" }).received()).body.data).toEqual(one?.body.data);
    expect(resumed).toHaveLength(1);
  });

  test("and failed at its provider's cost says so from then on", async () => {
    const outcome = () => Promise.reject(new GenerationFailedError({ charged: "no" }));
    const { stage, resumed, id } = await timedOut(outcome, "failed");
    const asking = stage.job(id);
    while (resumed.length === 0) await settled();
    resumed[0]?.();
    expect((await asking).body.error).toMatchObject({ charged: "no" });
    expect((await stage.job(id)).body.error).toMatchObject({ charged: "no" });
    expect(resumed).toHaveLength(1);
    // It was free: under its key it is ordered afresh.
    void stage.ask({ key: "k" });
    expect(await started(stage, 2)).toBe(2);
  });

  test("and that is no surer than before leaves what was said", async () => {
    const outcome = () => Promise.reject(new TimeoutError({ charged: "unknown", timeoutMs: 1 }));
    const { stage, resumed, id } = await timedOut(outcome, "failed");
    const asking = stage.job(id);
    while (resumed.length === 0) await settled();
    resumed[0]?.();
    expect(await asking).toMatchObject({ status: 424, body: { error: { charged: "unknown" } } });
  });
});

test("an order whose caller leaves while its job is fetched goes to the next equal request", async () => {
  const stage = new Stage({}, { idempotent: true });
  const first = stage.ask();
  await started(stage, 1);
  const fetching = stage.fetchJob(stage.held.idOf(0));
  const response = await fetching;
  first.leave();
  await settled();
  await response.text();
  const second = stage.ask();
  await settled();
  expect(await started(stage, 1)).toBe(1);
  await stage.end(0);
  expect((await second.received()).status).toBe(200);
  expect(stage.held.calls).toHaveLength(1);
});

test("a job is not forgotten under a reply that is being written", async () => {
  const stage = new Stage();
  const first = stage.ask({ key: "k" });
  await started(stage, 1);
  await stage.end(0);
  const { body } = await first.received();
  const response = await stage.fetchJob(body.job ?? "");
  await stage.clock.pass(25 * 3_600_000);
  for (let turn = 0; turn < 50; turn += 1) await settled();
  expect(((await response.json()) as { data: unknown[] }).data).toEqual(body.data);
  await settled();
  expect((await stage.job(body.job ?? "")).status).toBe(404);
});

test("a gateway that is closed keeps the pictures of replies that are being written", async () => {
  const stage = new Stage();
  const first = stage.ask({ key: "k" });
  await started(stage, 1);
  await stage.end(0);
  const response = await first.response;
  let isClosed = false;
  const closing = stage.gateway.close().then(() => {
    isClosed = true;
  });
  for (let turn = 0; turn < 50; turn += 1) await settled();
  expect(isClosed).toBe(false);
  expect(((await response.json()) as { data: unknown[] }).data).toHaveLength(1);
  await closing;
});

test("an end that cannot be written out may have been charged, names its job, and is not bought again", async () => {
  const stage = new Stage();
  // JSON takes no such number.
  const cost = { amount: 1n as never, unit: "USD", basis: "reported" } as const;
  const costly = fakeImageClient();
  const generate: ImageClient["generate"] = async (request) =>
    Object.assign(await costly.generate(request), { cost });
  stage.held.generate = generate;
  for (const _ of [1, 2]) {
    const asking = stage.ask({ key: "k" });
    await started(stage, 1);
    stage.held.calls[0]?.end();
    const { status, body } = await asking.received();
    expect({ status, body }).toMatchObject({
      status: 424,
      body: { error: { charged: "unknown", job: expect.stringMatching(/^[\da-f]{32}$/) } },
    });
  }
  expect(stage.held.calls).toHaveLength(1);
  expect(stage.errors).toHaveLength(2);
});
