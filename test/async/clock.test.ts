import { getEventListeners } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { abortSignalOf, callerSignal, LightAbortSignal } from "../../src/async/clock";
import { inTurn } from "../../src/async/turns";
import { reasonOf, startStage } from "../support/stage";

test("an ending tells all who listen, in their order and once, with the first reason", () => {
  const ending = new LightAbortSignal();
  const heard: string[] = [];
  for (const name of ["one", "two", "three"]) {
    ending.addEventListener("abort", () => heard.push(`${name}: ${ending.reason}`));
  }
  expect(ending.aborted).toBe(false);
  ending.throwIfAborted();
  ending.abort("first");
  ending.abort("second");
  expect(heard).toEqual(["one: first", "two: first", "three: first"]);
  expect(ending.aborted).toBe(true);
  expect(() => ending.throwIfAborted()).toThrow("first");
});

test("who has been let go of hears nothing, nor who comes after the end", () => {
  const ending = new LightAbortSignal();
  const heard: string[] = [];
  const listener = (name: string) => () => heard.push(name);
  const [only, second, third] = [listener("only"), listener("second"), listener("third")];
  ending.addEventListener("abort", only);
  ending.removeEventListener("abort", second);
  ending.removeEventListener("abort", only);
  ending.addEventListener("abort", second);
  ending.addEventListener("abort", third);
  ending.removeEventListener("abort", second);
  ending.abort("done");
  ending.addEventListener("abort", only);
  expect(heard).toEqual(["third"]);
});

test("who is let go of by another who hears the end first does not hear it", () => {
  const ending = new LightAbortSignal();
  const heard: string[] = [];
  const second = () => heard.push("second");
  ending.addEventListener("abort", () => ending.removeEventListener("abort", second));
  ending.addEventListener("abort", second);
  ending.abort("done");
  expect(heard).toEqual([]);
});

test("a caller's signal is one for all who listen, and is listened to once, while somebody does", () => {
  const controller = new AbortController();
  const { signal } = controller;
  const shared = callerSignal(signal);
  expect(callerSignal(signal)).toBe(shared);
  const heard: string[] = [];
  const listeners = ["one", "two", "three"].map((name) => () => heard.push(name));
  for (const listener of listeners) shared.addEventListener("abort", listener);
  expect(getEventListeners(signal, "abort")).toHaveLength(1);
  for (const listener of listeners) shared.removeEventListener("abort", listener);
  for (const listener of listeners) shared.removeEventListener("abort", listener);
  expect(getEventListeners(signal, "abort")).toHaveLength(0);
  for (const listener of listeners) shared.addEventListener("abort", listener);
  expect(shared.aborted).toBe(false);
  shared.throwIfAborted();
  controller.abort("mine");
  shared.addEventListener("abort", () => heard.push("late"));
  expect(heard).toEqual(["one", "two", "three"]);
  expect(shared).toMatchObject({ aborted: true, reason: "mine" });
  expect(() => shared.throwIfAborted()).toThrow("mine");
  expect(getEventListeners(signal, "abort")).toHaveLength(0);
});

test("one signal serves a hundred calls without a warning, ends them all, and is let go of", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on("warning", onWarning);
  try {
    const controller = new AbortController();
    const { signal } = controller;
    const client = stage.client("openaiCompatible");
    const generate = () => client.generate({ prompt: "many" }, { signal });
    await Promise.all(Array.from({ length: 100 }, generate));
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
    const ended = Array.from({ length: 100 }, () => reasonOf(generate()));
    controller.abort("enough");
    expect(new Set(await Promise.all(ended))).toEqual(new Set(["enough"]));
    await turn();
  } finally {
    process.off("warning", onWarning);
  }
  expect(warnings).toEqual([]);
});

test("an ending is an AbortSignal for functions that take no other, before and after its end", () => {
  const ending = new LightAbortSignal();
  const before = abortSignalOf(ending);
  expect(before?.aborted).toBe(false);
  ending.abort("mine");
  expect(before).toMatchObject({ aborted: true, reason: "mine" });
  expect(abortSignalOf(ending)).toMatchObject({ aborted: true, reason: "mine" });
  const { signal } = new AbortController();
  expect(abortSignalOf(signal)).toBe(signal);
});

test("a thousand that begin at once begin in many turns of the event loop, in their order", async () => {
  await turn();
  const begun: number[] = [];
  const all = Array.from({ length: 1_000 }, (_, index) =>
    Promise.resolve(inTurn()).then(() => begun.push(index)),
  );
  let turns = 0;
  let most = 0;
  for (let before = 0; before < all.length; turns += 1) {
    await turn();
    most = Math.max(most, begun.length - before);
    before = begun.length;
  }
  expect(begun).toEqual(all.map((_, index) => index));
  expect(turns).toBeGreaterThan(10);
  expect(most).toBeLessThan(100);
});

test("a call that ends while it waits for its turn rejects with the caller's reason, and nothing is sent", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const client = stage.client("trinetra");
  const ending = new AbortController();
  const queued = Array.from({ length: 500 }, () => inTurn());
  const reason = reasonOf(client.generate({ prompt: "A web" }, { signal: ending.signal }));
  ending.abort("mine");
  expect(await reason).toBe("mine");
  await Promise.all(queued);
  await turn();
  expect(stage.count("create")).toBe(0);
});
