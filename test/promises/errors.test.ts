import { inspect } from "node:util";
import { expect, test } from "vitest";
import { withFailures } from "../../src/errors";
import * as api from "../../src/index";
import { type Charged, ImageError, isImageError, type ModerationError } from "../../src/index";

const facts = { provider: "trinetra", charged: "unknown" as Charged };
const field = { field: "size", given: '"7x7"', taken: "auto" };

const all: readonly [name: string, code: string, error: ImageError][] = [
  ["InvalidRequestError", "invalid_request", new api.InvalidRequestError({ ...facts, ...field })],
  ["UnsupportedError", "unsupported", new api.UnsupportedError({ ...facts, ...field })],
  ["AuthenticationError", "authentication", new api.AuthenticationError(facts)],
  ["PermissionDeniedError", "permission_denied", new api.PermissionDeniedError(facts)],
  ["InsufficientCreditsError", "insufficient_credits", new api.InsufficientCreditsError(facts)],
  ["RateLimitError", "rate_limited", new api.RateLimitError(facts)],
  ["ModerationError", "moderation", new api.ModerationError(facts)],
  ["GenerationFailedError", "generation_failed", new api.GenerationFailedError(facts)],
  ["TimeoutError", "timeout", new api.TimeoutError({ ...facts, timeoutMs: 9 })],
  ["SubmissionUnknownError", "submission_unknown", new api.SubmissionUnknownError(facts)],
  ["MalformedResponseError", "malformed_response", new api.MalformedResponseError(facts)],
  ["ProviderUnavailableError", "provider_unavailable", new api.ProviderUnavailableError(facts)],
  ["DownloadError", "download_failed", new api.DownloadError({ ...facts, url: "https://a.test" })],
  ["CallbackError", "callback_failed", new api.CallbackError({ ...facts, callback: "upload" })],
  ["ClientClosedError", "client_closed", new api.ClientClosedError(facts)],
  ["BudgetExceededError", "budget_exceeded", new api.BudgetExceededError(facts)],
  ["JournalError", "journal_failed", new api.JournalError(facts)],
];

test("the list is every class of error that the package exports", () => {
  const exported = Object.entries(api)
    .filter(([, value]) => typeof value === "function" && value.prototype instanceof ImageError)
    .map(([name]) => name);
  expect(exported.sort()).toEqual(all.map(([name]) => name).sort());
  expect(new Set(all.map(([, code]) => code)).size).toBe(all.length);
});

test.each(all)("%s has its name, the code %s and the base class", (name, code, error) => {
  expect(error).toBeInstanceOf(ImageError);
  expect(error).toBeInstanceOf(Error);
  expect(error.name).toBe(name);
  expect(error.constructor.name).toBe(name);
  expect(error.code).toBe(code);
  expect(isImageError(error)).toBe(true);
  expect(String(error)).toContain(`${name}: trinetra: `);
  expect(error.stack).toContain(name);
});

test.each(all)("%s says in its message whether money was spent", (_name, _code, error) => {
  expect(error.message).toMatch(/ It may have been charged\.$/);
});

test("each answer to the question of money has its sentence", () => {
  const sentenceOf = (charged: Charged) => new api.AuthenticationError({ charged }).message;
  expect(sentenceOf("no")).toBe("The API key was not accepted. Nothing was charged.");
  expect(sentenceOf("yes")).toBe("The API key was not accepted. It was charged.");
  expect(sentenceOf("unknown")).toBe("The API key was not accepted. It may have been charged.");
});

test("the provider's own words stand in the message with one full stop", () => {
  const messageOf = (detail: string) => new api.GenerationFailedError({ charged: "no", detail });
  expect(messageOf("It broke").message).toBe(
    "The generation failed. It broke. Nothing was charged.",
  );
  expect(messageOf("Why?").message).toBe("The generation failed. Why? Nothing was charged.");
  expect(messageOf("").message).toBe("The generation failed. Nothing was charged.");
});

test("what may have been paid is never retryable, whatever is said", () => {
  for (const charged of ["yes", "unknown"] as const) {
    expect(new api.RateLimitError({ charged, transient: true }).retryable).toBe(false);
    expect(new api.ProviderUnavailableError({ charged }).retryable).toBe(false);
  }
  expect(new api.RateLimitError({ charged: "no" }).retryable).toBe(true);
  expect(new api.ProviderUnavailableError({ charged: "no" }).retryable).toBe(true);
  expect(new api.GenerationFailedError({ charged: "no", transient: true }).retryable).toBe(true);
  expect(new api.GenerationFailedError({ charged: "no" }).retryable).toBe(false);
  expect(new api.ModerationError({ charged: "no" }).retryable).toBe(false);
});

test("every fact is a property, and one that was not given is not there", () => {
  const cause = new Error("inner");
  const given = {
    provider: "p",
    charged: "no",
    status: 429,
    providerCode: "x",
    requestId: "r",
    retryAfterMs: 1_500,
    raw: { a: 1 },
    cost: { amount: 1, unit: "USD", basis: "list" },
  } as const;
  const error = new api.RateLimitError({ ...given, cause });
  expect(error).toMatchObject(given);
  expect(error.cause).toBe(cause);
  expect(error.message).toContain("to be tried again after 2 s");
  const bare = new api.RateLimitError({ charged: "no" });
  for (const name of ["provider", "status", "providerCode", "requestId", "raw", "job", "cause"]) {
    expect(bare).not.toHaveProperty(name);
  }
});

test("a refusal by moderation has its stage and categories, and an empty list without", () => {
  const error = new api.ModerationError({ charged: "no", stage: "input", categories: ["gore"] });
  expect(error).toMatchObject({ stage: "input", categories: ["gore"] });
  expect(new api.ModerationError({ charged: "no" }).categories).toEqual([]);
  expect(new api.ModerationError({ charged: "no" })).not.toHaveProperty("stage");
});

test("an invalid request that the provider refused needs no field", () => {
  const error = new api.InvalidRequestError({ charged: "no", detail: "Bad size" });
  expect(error.message).toBe("The request was refused as invalid. Bad size. Nothing was charged.");
  expect(error).not.toHaveProperty("field");
});

test("as JSON an error is short: no raw response, no cause, no stack", () => {
  const error = new api.RateLimitError({
    ...facts,
    ...{ raw: { secret: "raw" }, cause: new Error("inner"), status: 429 },
  });
  const text = JSON.stringify(withFailures([error, new api.AuthenticationError(facts)]));
  expect(JSON.parse(text)).toMatchObject({
    name: "RateLimitError",
    code: "rate_limited",
    charged: "unknown",
    retryable: false,
    status: 429,
    failures: [{ name: "AuthenticationError" }],
  });
  for (const absent of ["secret", "inner", "stack", "errors.test"]) {
    expect(text).not.toContain(absent);
  }
});

test("the first of several errors carries the others, and one alone is itself", () => {
  const [first, second] = [new api.AuthenticationError(facts), new api.RateLimitError(facts)];
  expect(withFailures([first])).toBe(first);
  expect(first.failures).toEqual([]);
  expect(withFailures([first, second])).toBe(first);
  expect(first.failures).toEqual([second]);
});

test("an error of another copy of the package is one too", () => {
  const foreign = Object.assign(new Error("x"), { code: "moderation", charged: "no" });
  expect(isImageError(foreign)).toBe(false);
  Object.defineProperty(foreign, Symbol.for("gpt-image-client.error"), { value: true });
  expect(isImageError(foreign)).toBe(true);
  expect(foreign).not.toBeInstanceOf(ImageError);
});

test.each([undefined, null, 7, "x", {}, new Error("x"), () => 1])(
  "%o is no error of ours",
  (value) => {
    expect(isImageError(value)).toBe(false);
  },
);

test("the brand shows neither in JSON nor in a log", () => {
  const error: ModerationError = new api.ModerationError(facts);
  expect(inspect(error)).not.toContain("gpt-image-client.error");
  expect(Object.keys(error)).not.toContain("Symbol(gpt-image-client.error)");
});

test("what a gateway of this package said of the money is not said twice", () => {
  const said = { detail: "The generation failed. It may have been charged." };
  const { message } = new api.GenerationFailedError({ ...facts, ...said });
  expect(message).toBe(
    "trinetra: The generation failed. The generation failed. It may have been charged.",
  );
});
