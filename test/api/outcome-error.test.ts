import { expect, test } from "vitest";
import { elided } from "../../src/api/elided";
import { errorOf } from "../../src/api/outcome-error";
import type { RefusalKind, Refused } from "../../src/provider";

const refused = (kind: RefusalKind, more: Partial<Refused> = {}): Refused => ({
  ...{ state: "refused", kind, charged: "no", resend: "never", message: "the words" },
  ...more,
});

const names: Record<RefusalKind, string> = {
  invalid_request: "InvalidRequestError",
  authentication: "AuthenticationError",
  permission_denied: "PermissionDeniedError",
  insufficient_credits: "InsufficientCreditsError",
  rate_limited: "RateLimitError",
  moderation: "ModerationError",
  generation_failed: "GenerationFailedError",
  malformed_response: "MalformedResponseError",
  provider_unavailable: "ProviderUnavailableError",
  submission_unknown: "SubmissionUnknownError",
};

test.each(Object.entries(names))("a refusal of kind %s is a %s with its words", (kind, name) => {
  const error = errorOf(refused(kind as RefusalKind, { code: "c" }), {
    provider: "p",
    status: 400,
  });
  expect(error).toMatchObject({ name, code: kind, provider: "p", status: 400, providerCode: "c" });
  expect(error.message).toContain("the words");
});

test("moderation keeps its stage and categories", () => {
  const more = { stage: "output", categories: ["gore"] };
  expect(errorOf(refused("moderation", more), {})).toMatchObject(more);
});

test("a cost that the refusal names goes before the one that was known", () => {
  const known = { amount: 1, unit: "USD", basis: "reported" } as const;
  const named = { ...known, amount: 2 };
  const failed = refused("generation_failed", { charged: "unknown" });
  expect(errorOf({ ...failed, cost: named }, { cost: known }).cost).toBe(named);
  expect(errorOf(failed, { cost: known }).cost).toBe(known);
});

test("what was not charged has no cost above zero, whoever named one", () => {
  const known = { amount: 1, unit: "USD", basis: "reported" } as const;
  const nothing = { ...known, amount: 0 };
  const failed = refused("generation_failed", { state: "failed" });
  expect(errorOf({ ...failed, cost: known }, {})).not.toHaveProperty("cost");
  expect(errorOf(failed, { cost: known })).not.toHaveProperty("cost");
  expect(errorOf({ ...failed, cost: nothing }, { cost: known }).cost).toBe(nothing);
});

test("a refusal that no later attempt can change is not retryable", () => {
  expect(errorOf(refused("rate_limited", { transient: false }), {}).retryable).toBe(false);
  expect(errorOf(refused("provider_unavailable", { transient: false }), {}).retryable).toBe(false);
});

test("a refusal with a field at fault names it, in a sentence of its own", () => {
  const error = errorOf(refused("invalid_request", { field: "baseURL" }), {});
  expect(error.field).toBe("baseURL");
  expect(error.message).not.toContain("undefined");
});

test("a job that failed and was not billed may be tried again, a refusal not", () => {
  const failed = refused("generation_failed", { state: "failed" });
  expect(errorOf(failed, {}).retryable).toBe(true);
  expect(errorOf({ ...failed, charged: "unknown" }, {}).retryable).toBe(false);
  expect(errorOf(refused("generation_failed"), {}).retryable).toBe(false);
  expect(errorOf(refused("rate_limited"), {}).retryable).toBe(true);
});

const key = "sk-secret-0123456789";

test("a response is kept without long strings, without depth and without the secret", () => {
  const raw = { [key]: [key, 1, true, null], image: "x".repeat(1_001), text: "x".repeat(1_000) };
  expect(elided(raw, [key])).toEqual({
    "<key>": ["<key>", 1, true, null],
    image: "<1001 characters>",
    text: "x".repeat(1_000),
  });
  let deep: unknown = key;
  for (let level = 0; level < 5_000; level += 1) deep = [deep];
  expect(JSON.stringify(elided(deep, [key]))).toBe(`${"[".repeat(12)}"<…>"${"]".repeat(12)}`);
});

test("a response keeps the first hundred of many", () => {
  expect(
    elided(
      Array.from({ length: 1_000 }, () => 1),
      [],
    ),
  ).toHaveLength(100);
  const wide = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [index, 1]));
  expect(Object.keys(Object(elided(wide, [])))).toHaveLength(100);
});

test("a field that JSON calls __proto__ is shown as one, and so is a key among the names", () => {
  const raw = JSON.parse(`{ "__proto__": { "a": "${key}" }, "${key}": 1, "b": ["${key}"] }`);
  const shown = elided(raw, [key]);
  expect(JSON.stringify(shown)).toBe('{"__proto__":{"a":"<key>"},"<key>":1,"b":["<key>"]}');
  const plain = JSON.parse('{ "__proto__": { "a": 1 }, "b": 2 }');
  expect(JSON.stringify(elided(plain, [key]))).toBe('{"__proto__":{"a":1},"b":2}');
  expect(JSON.stringify(plain)).toBe('{"__proto__":{"a":1},"b":2}');
});

test("a key among more names than are shown is not shown", () => {
  const wide = Object.fromEntries(Array.from({ length: 150 }, (_, at) => [`${key}-${at}`, at]));
  const shown = JSON.stringify(elided(wide, [key]));
  expect(shown).not.toContain(key);
  expect(Object.keys(JSON.parse(shown))).toHaveLength(100);
});
