import { isImageError } from "gpt-image-client";
import { createImageRouter } from "gpt-image-client/router";
import { fakeImageClient } from "gpt-image-client/testing";
import { describe, expect, test } from "vitest";
import { digestOf } from "../../../src/doors/router/digest";
import { failureOf, prompt, stage } from "./stage";

/** As JavaScript may give it. */
function fieldOf(options: unknown): string | undefined {
  try {
    Reflect.apply(createImageRouter, undefined, [options]);
  } catch (error) {
    return isImageError(error) && "field" in error ? String(error.field) : undefined;
  }
  return undefined;
}

const clients = [fakeImageClient()];
const day = { amount: 1, unit: "USD", per: "day" };

describe("an option that would spend otherwise than it says is refused before anything is sent", () => {
  test.each<[string, unknown]>([
    ["options.clients", { clients: "all" }],
    ["options.budgets", { budgets: [day] }],
    ["options.name", { name: "" }],
    ["options.sort", { sort: "cheapest" }],
    ["options.fallback", { fallback: true }],
    ["options.onRoute", { onRoute: "log" }],
    ["options.timeoutMs", { timeoutMs: 0 }],
    ["options.margin", { margin: 0.5 }],
    ["options.margin", { margin: Number.NaN }],
    ["options.trustReported", { trustReported: "yes" }],
    ["options.journal", { journal: "./.images" }],
    ["options.ledger", { ledger: "./ledger.jsonl" }],
    ["options.assume", { assume: 0.1 }],
    ["options.assume.unit", { assume: { amount: 0.1 } }],
    ["options.rates.credits", { rates: { USD: 1, credits: 0 } }],
    ["options.budget", { budget: day }],
    ["options.budget[0].amount", { budget: [{ ...day, amount: Number.POSITIVE_INFINITY }] }],
    ["options.budget[1].amount", { budget: [day, { ...day, amount: "5" }] }],
    ["options.budget[0].unit", { budget: [{ ...day, unit: "" }] }],
    ["options.budget[0].per", { budget: [{ ...day, per: "week" }] }],
    ["options.budget[0].tags", { budget: [{ ...day, tags: ["web"] }] }],
    ["options.budget[0].tags.team", { budget: [{ ...day, tags: { team: 7 } }] }],
  ])("%s", (field, options) => {
    expect(fieldOf({ clients, ...Object(options) })).toBe(field);
  });

  test("and what is no options at all", () => {
    expect(fieldOf(undefined)).toBe("options");
    expect(fieldOf({ clients, budget: [day] })).toBeUndefined();
  });
});

test.each<[string, unknown]>([
  ["options", "fast"],
  ["options.onUnknown", { onUnknown: "retry" }],
  ["options.tags", { tags: "web" }],
  ["options.timeoutMs", { timeoutMs: -1 }],
  ["options.signal", { signal: "stop" }],
  ["options.onEvent", { onEvent: true }],
  ["options.idempotencyKey", { idempotencyKey: "" }],
])("a call's wrong %s is refused, and nobody is asked", async (field, options) => {
  const { clock, router, a } = stage({ a: {} });
  // As JavaScript may give it.
  const calling = Reflect.apply(router.generate, router, [{ prompt }, options]);
  expect(await clock.run(failureOf(calling))).toMatchObject({ field, charged: "no" });
  expect(a.asked).toEqual([]);
});

describe("what tells the requests of one key apart", () => {
  const edit = (image: unknown) => digestOf({ prompt, images: [image] } as never);

  test("is in the bytes of an image, in whichever form they are at hand", () => {
    const bytes = Uint8Array.of(1, 2, 3, 4);
    const within = Uint8Array.of(9, 1, 2, 3, 4, 9).subarray(1, 5);
    const same = [bytes, Buffer.from(bytes), within, bytes.buffer].map(edit);
    expect(new Set(same).size).toBe(1);
    expect(edit(Uint8Array.of(1, 2, 3, 5))).not.toBe(same[0]);
  });

  test("is in an address, and not in the order of the fields", () => {
    expect(edit(new URL("https://a.test/1.png"))).not.toBe(edit(new URL("https://a.test/2.png")));
    const size = "1024x1024";
    expect(digestOf({ prompt, size })).toBe(digestOf({ size, prompt }));
    expect(digestOf({ prompt, size })).not.toBe(digestOf({ prompt }));
  });
});
