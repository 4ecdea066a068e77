import { expect, test } from "vitest";
import { z } from "zod";
import { sleep, systemClock } from "../../src/async/clock";
import { Semaphore } from "../../src/async/semaphore";
import { firstOf, parseOptions } from "../../src/request/options";

const never = () => new AbortController().signal;

test("slots are given in the order in which they were asked for", async () => {
  const slots = new Semaphore(1, systemClock);
  const first = await slots.acquire(never());
  const order: string[] = [];
  const take = async (name: string) => {
    const release = await slots.acquire(never());
    order.push(name);
    release();
  };
  const second = take("second");
  const third = take("third");
  first();
  await Promise.all([second, third]);
  expect(order).toEqual(["second", "third"]);
});

test("a slot that is given back twice is free once", async () => {
  const slots = new Semaphore(1, systemClock);
  const release = await slots.acquire(never());
  release();
  release();
  await slots.acquire(never());
  const leave = new AbortController();
  const waiting = slots.acquire(leave.signal);
  leave.abort(new Error("left"));
  await expect(waiting).rejects.toThrow("left");
});

test("who has left already gets no slot, and who leaves the queue makes room in it", async () => {
  const slots = new Semaphore(1, systemClock);
  await expect(slots.acquire(AbortSignal.abort(new Error("gone")))).rejects.toThrow("gone");
  const release = await slots.acquire(never());
  const leave = new AbortController();
  const left = slots.acquire(leave.signal);
  const next = slots.acquire(never());
  leave.abort(new Error("left"));
  await expect(left).rejects.toThrow("left");
  release();
  expect(await next).toBeTypeOf("function");
});

test("a sleep whose signal has aborted does not begin", async () => {
  const signal = AbortSignal.abort(new Error("gone"));
  await expect(sleep(systemClock, 60_000, signal)).rejects.toThrow("gone");
});

test("a timer beyond what setTimeout takes does not fire at once", async () => {
  let fired = false;
  const cancel = systemClock.after(2 ** 31, () => {
    fired = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 5));
  cancel();
  expect(fired).toBe(false);
});

test("options that are no object are named as such", () => {
  const schema = z.strictObject({ a: z.number() }, "an object of options");
  for (const value of [null, 5, "x", undefined]) {
    expect(() => parseOptions(schema, value, "options")).toThrow(/`options` is invalid/);
  }
  expect(() => firstOf([])).toThrow("no problem");
});
