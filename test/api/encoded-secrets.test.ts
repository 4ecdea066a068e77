import fc from "fast-check";
import { expect, test } from "vitest";
import { Secrets } from "../../src/api/secrets";
import { createImageClient, openaiCompatible } from "../../src/index";
import { sendJson, startServer } from "../support/server";
import { failureOf, prompt } from "../support/stage";

/** All that may be left of a key beside what is struck: a letter at each end, which it shares. */
function expectStruck(key: string, shown: string): void {
  for (let at = 0; at + 10 <= key.length; at += 1) {
    for (const before of ["", "a", "ab"]) {
      const text = Buffer.from(`${before}${key.slice(at)}`).toString("base64");
      expect(shown).not.toContain(text.slice(before.length === 0 ? 0 : 4, 12));
    }
  }
}

test("a key in base64 is struck, wherever in what was encoded it stands", () => {
  const key = fc.string({
    unit: fc.constantFrom(..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop0123456789-_?~>"),
    minLength: 16,
    maxLength: 60,
  });
  const around = fc.string({ maxLength: 9 });
  fc.assert(
    fc.property(key, around, around, fc.constantFrom("base64", "base64url"), (...given) => {
      const [secret, before, after, encoding] = given;
      const secrets = new Secrets({}, "");
      secrets.hold(secret);
      const text = Buffer.from(`${before}${secret}${after}`).toString(encoding);
      const shown = secrets.strike(`Bad header: Basic ${text}.`);
      expect(shown).toContain("<key>");
      // Up to four letters at each end are those of other characters, too.
      const left = shown.replace("<key>", "").length - "Bad header: Basic .".length;
      const others = Math.ceil(((before.length + after.length) * 3 * 8) / 6);
      expect(left).toBeLessThanOrEqual(others + 4 + 2);
    }),
  );
});

test("a short word of the settings is not looked for in base64", () => {
  const secrets = new Secrets({ "x-api-key": "openai" }, "");
  expect(secrets.strike(`id ${Buffer.from("openai").toString("base64")}`)).toContain("b3BlbmFp");
});

test("a server that shows a basic header shows no key", async () => {
  const apiKey = "sk-of-the-test-0123456789";
  await using server = await startServer((_, response) => {
    const header = Buffer.from(`user:${apiKey}`).toString("base64");
    sendJson(response, { error: { message: `Bad authorization: Basic ${header}` } }, 401);
  });
  const provider = openaiCompatible({ baseURL: `${server.url}/v1`, apiKey });
  const error = await failureOf(createImageClient({ provider }).generate({ prompt }));
  expect(error.message).toContain("Basic dXNlcj");
  expect(error.message).toContain("<key>");
  expectStruck(apiKey, error.message + JSON.stringify(error.raw));
});
