import { GenerationFailedError, ModerationError } from "gpt-image-client";
import { describe, expect, test } from "vitest";
import { settled } from "./clock";
import { Stage, started, unknown } from "./held";

describe("without a key", () => {
  test("an order whose caller leaves goes on, and its end goes to the next equal request", async () => {
    const stage = new Stage();
    const first = stage.ask();
    await started(stage, 1);
    first.leave();
    await settled();
    const second = stage.ask();
    await settled();
    expect(await started(stage, 1)).toBe(1);
    await stage.end(0);
    const { status, body } = await second.received();
    expect(status).toBe(200);
    expect(body.data).toHaveLength(1);
    expect(stage.held.calls).toHaveLength(1);
  });

  test("an end that nobody received is given on, once", async () => {
    const stage = new Stage();
    const first = stage.ask();
    await started(stage, 1);
    first.leave();
    await stage.end(0);
    expect((await stage.ask().received()).status).toBe(200);
    const third = stage.ask();
    expect(await started(stage, 2)).toBe(2);
    await stage.end(1);
    expect((await third.received()).status).toBe(200);
  });

  test("an error that may have been charged is given on, once", async () => {
    const stage = new Stage();
    const first = stage.ask();
    await started(stage, 1);
    first.leave();
    await stage.end(0, unknown());
    const { status, body, headers } = await stage.ask().received();
    expect(status).toBe(424);
    expect(body.error).toMatchObject({ charged: "unknown", code: "submission_unknown" });
    expect(headers.get("x-should-retry")).toBe("false");
    expect(headers.get("x-image-charged")).toBe("unknown");
    void stage.ask();
    expect(await started(stage, 2)).toBe(2);
  });

  test("what was not charged is ordered afresh", async () => {
    const stage = new Stage();
    const first = stage.ask();
    await started(stage, 1);
    first.leave();
    await stage.end(0, new GenerationFailedError({ charged: "no" }));
    void stage.ask();
    expect(await started(stage, 2)).toBe(2);
  });

  test("two equal orders that both wait stay two, and both that are left are given on", async () => {
    const stage = new Stage();
    const both = [stage.ask(), stage.ask()];
    expect(await started(stage, 2)).toBe(2);
    for (const each of both) each.leave();
    await settled();
    const heirs = [stage.ask(), stage.ask()];
    await settled();
    expect(await started(stage, 2)).toBe(2);
    await stage.end(0);
    await stage.end(1);
    const jobs = await Promise.all(heirs.map(async (each) => (await each.received()).body.job));
    expect(new Set(jobs).size).toBe(2);
  });

  test("an order is never given to another caller, nor to another request", async () => {
    const stage = new Stage();
    const first = stage.ask();
    await started(stage, 1);
    first.leave();
    await settled();
    void stage.ask({ caller: "berta" });
    void stage.ask({ prompt: "Another" });
    expect(await started(stage, 3)).toBe(3);
  });

  test("an orphan lasts ten minutes from its end on, and then as a job alone", async () => {
    const stage = new Stage();
    const first = stage.ask();
    await started(stage, 1);
    first.leave();
    await stage.clock.pass(3_600_000);
    await stage.end(0);
    await stage.clock.pass(599_000);
    const heir = stage.ask();
    const { body } = await heir.received();
    expect(stage.held.calls).toHaveLength(1);

    const next = stage.ask();
    await started(stage, 2);
    next.leave();
    await stage.end(1);
    await stage.clock.pass(601_000);
    void stage.ask();
    expect(await started(stage, 3)).toBe(3);
    // Received without a key, it was forgotten.
    expect((await stage.job(body.job ?? "")).status).toBe(404);
  });
});

describe("with an Idempotency-Key", () => {
  test("a request joins the order that is under way", async () => {
    const stage = new Stage();
    const both = [stage.ask({ key: "k" }), stage.ask({ key: "k" })];
    await settled();
    expect(await started(stage, 1)).toBe(1);
    await stage.end(0);
    const [one, other] = await Promise.all(both.map((each) => each.received()));
    expect(one?.body.job).toBe(other?.body.job);
    expect(one?.body.data).toEqual(other?.body.data);
  });

  test("the same end is given again for a day, however often it was received", async () => {
    const stage = new Stage();
    const first = stage.ask({ key: "k" });
    await started(stage, 1);
    await stage.end(0);
    const { body } = await first.received();
    await stage.clock.pass(23 * 3_600_000);
    expect((await stage.ask({ key: "k" }).received()).body).toEqual(body);
    expect((await stage.ask({ key: "k" }).received()).body).toEqual(body);
    expect(stage.held.calls).toHaveLength(1);
    await stage.clock.pass(2 * 3_600_000);
    void stage.ask({ key: "k" });
    expect(await started(stage, 2)).toBe(2);
  });

  test("an error that may have been charged is given again, and one that was not is ordered afresh", async () => {
    const stage = new Stage();
    const first = stage.ask({ key: "k" });
    await started(stage, 1);
    await stage.end(0, unknown());
    expect((await first.received()).status).toBe(424);
    expect((await stage.ask({ key: "k" }).received()).status).toBe(424);
    expect(stage.held.calls).toHaveLength(1);

    const free = stage.ask({ key: "other" });
    await started(stage, 2);
    await stage.end(1, new ModerationError({ charged: "no", stage: "input" }));
    expect((await free.received()).body.error).toMatchObject({ code: "moderation_blocked" });
    void stage.ask({ key: "other" });
    expect(await started(stage, 3)).toBe(3);
  });

  test("another request under it is a 422, and another caller's key is another", async () => {
    const stage = new Stage();
    void stage.ask({ key: "k" });
    await started(stage, 1);
    const { status, body } = await stage.ask({ key: "k", prompt: "Another" }).received();
    expect(status).toBe(422);
    expect(body.error).toMatchObject({ charged: "no", code: "idempotency_key_reused" });
    void stage.ask({ key: "k", caller: "berta" });
    expect(await started(stage, 2)).toBe(2);
  });
});

describe("a caller's limit", () => {
  test("counts orders under way and orphans, and says when to come again", async () => {
    const stage = new Stage({ maxOrdersPerCaller: 2 });
    const orders = [stage.ask({ prompt: "1" }), stage.ask({ prompt: "2" })];
    await started(stage, 2);
    orders[0]?.leave();
    await stage.end(stage.held.calls.findIndex(({ request }) => request.prompt === "1"));
    const refused = await stage.ask({ prompt: "3" }).received();
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get("retry-after"))).toBeLessThanOrEqual(60);
    expect(refused.body.error).toMatchObject({ charged: "no" });
    // Another caller has a limit of its own, and an heir takes no place.
    void stage.ask({ prompt: "3", caller: "berta" });
    expect((await stage.ask({ prompt: "1" }).received()).status).toBe(200);
    void stage.ask({ prompt: "3" });
    expect(await started(stage, 4)).toBe(4);
  });

  test("lets go of an orphan after its time", async () => {
    const stage = new Stage({ maxOrdersPerCaller: 1 });
    const first = stage.ask({ prompt: "1" });
    await started(stage, 1);
    first.leave();
    await stage.end(0);
    expect((await stage.ask({ prompt: "2" }).received()).status).toBe(429);
    await stage.clock.pass(601_000);
    void stage.ask({ prompt: "2" });
    expect(await started(stage, 2)).toBe(2);
  });
});

describe("a job", () => {
  test("is there while it runs and after, for its own caller alone, and more than once", async () => {
    const stage = new Stage({}, { idempotent: true });
    const first = stage.ask();
    await started(stage, 1);
    first.leave();
    await settled();
    const id = stage.held.idOf(0);
    expect(await stage.job(id)).toMatchObject({ status: 202, body: { status: "in_progress" } });
    await stage.end(0);
    expect((await stage.job(id, "berta")).status).toBe(404);
    expect((await stage.job(id)).body.data).toHaveLength(1);
    expect((await stage.job(id)).body.data).toHaveLength(1);
    // It was received: the next equal request is an order of its own.
    void stage.ask();
    expect(await started(stage, 2)).toBe(2);
    await stage.clock.pass(25 * 3_600_000);
    expect((await stage.job(id)).status).toBe(404);
  });

  test("that may have been charged can be looked up", async () => {
    const stage = new Stage();
    const first = stage.ask();
    await started(stage, 1);
    await stage.end(0, unknown());
    const { body } = await first.received();
    const job = await stage.job(body.error?.job ?? "");
    expect(job).toMatchObject({ status: 424, body: { error: { charged: "unknown" } } });
  });
});

test("a gateway that is closed takes no order, and waits for those under way", async () => {
  const stage = new Stage();
  const first = stage.ask();
  await started(stage, 1);
  const closing = stage.gateway.close();
  const { status, body } = await stage.ask({ prompt: "2" }).received();
  expect({ status, body }).toMatchObject({ status: 503, body: { error: { charged: "no" } } });
  await stage.end(0);
  expect((await first.received()).status).toBe(200);
  await closing;
});

test("a caller who leaves while its reply is written ends no other's reply for a close", async () => {
  const stage = new Stage();
  const first = stage.ask();
  const second = stage.ask({ prompt: "2" });
  await started(stage, 2);
  await stage.end(0);
  const { body } = await first.response;
  first.leave();
  await body?.cancel();
  let isClosed = false;
  const closing = stage.gateway.close().then(() => {
    isClosed = true;
  });
  await stage.end(1);
  const response = await second.response;
  for (let turn = 0; turn < 50; turn += 1) await settled();
  // Its reply is not written yet.
  expect(isClosed).toBe(false);
  await response.arrayBuffer();
  await closing;
});

test("a gateway that is closed gives up after its time", async () => {
  const stage = new Stage();
  const first = stage.ask();
  await started(stage, 1);
  let isClosed = false;
  const closing = stage.gateway.close({ timeoutMs: 5_000 }).then(() => {
    isClosed = true;
  });
  await stage.clock.pass(4_999);
  expect(isClosed).toBe(false);
  await stage.clock.pass(1);
  await closing;
  // What is under way goes on all the same.
  await stage.end(0);
  expect((await first.received()).status).toBe(200);
});
