import { inspect } from "node:util";
import { afterEach, expect, test, vi } from "vitest";
import { redactCause, redacted, Secrets, tellsOfSecret } from "../../src/api/secrets";
import {
  createImageClient,
  type ImageEvent,
  openaiCompatible,
  type ProviderSettings,
  shortapi,
} from "../../src/index";

afterEach(() => vi.unstubAllEnvs());

const key = "sk-secret-0123456789";

test("a text loses every secret in it, and a secret of a few letters is none", () => {
  expect(redacted(`a ${key} b ${key}`, [key])).toBe("a <key> b <key>");
  expect(redacted("a banana", ["a"])).toBe("a banana");
  expect(redacted("openai", ["openai"], 16)).toBe("openai");
});

test("a cause without a secret is itself, and one with it is what is left of it", () => {
  const clean = Object.assign(new Error("reset"), { code: "ECONNRESET" });
  expect(redactCause(clean, [key])).toBe(clean);
  const leaky = Object.assign(new Error(`with ${key}`), { headers: { authorization: key } });
  expect(redactCause(leaky, [key])).toMatchObject({ message: "with <key>" });
  expect(redactCause(leaky, [key])).not.toHaveProperty("headers");
  expect(redactCause(`with ${key}`, [key])).toMatchObject({ message: "with <key>" });
  expect(redactCause(undefined, [key])).toBeUndefined();
});

test("a cause with a circle in it is looked through all the same", () => {
  const circular = Object.assign(new Error("x"), { self: {} as object });
  circular.self = circular;
  expect(redactCause(circular, [key])).toBe(circular);
});

test.each([
  ...["authorization", "Authorization", "x-api-key", "X-Second-Api-Key", "api_key", "apikey"],
  ...["x-auth-token", "cookie", "client-secret", "x-session", "x_signature", "proxy-password"],
])("the header %s tells of a secret by a whole word", (name) => {
  expect(tellsOfSecret(name)).toBe(true);
});

test.each([
  ...["x-portkey-provider", "x-monkey", "tokens-left", "x-author", "keyboard", "x-cookies-ok"],
  ...["content-type", "user-agent", "x-tenant", "secretary", "x-passwordless"],
])("the header %s does not", (name) => {
  expect(tellsOfSecret(name)).toBe(false);
});

const settled = { data: [{ b64_json: "iVBORw0KGgo=" }] };

/** A client whose endpoint answers what the test says, and all that came of it in one text. */
async function told(
  settings: Partial<ProviderSettings> & { baseURL?: string },
  response: unknown,
  status = 400,
): Promise<string> {
  const events: ImageEvent[] = [];
  const provider = openaiCompatible({ baseURL: "https://g.test/v1", apiKey: key, ...settings });
  const client = createImageClient({
    provider,
    fetch: async () => Response.json(response, { status }),
    onEvent: (event) => events.push(event),
  });
  const end = await client.generate({ prompt: "x" }).catch((reason: unknown) => reason);
  const { message, raw, job } = Object(end);
  return JSON.stringify([message, raw, end, job?.reference, events]);
}

test("plain words of headers stay in messages, and the secret ones go, each part of them", async () => {
  const headers = {
    "x-portkey-provider": "openai",
    "x-cluster": "production",
    "x-second-api-key": "sk-other-0123456789",
    authorization: "Bearer tk-third-0123456789",
    cookie: "theme=dark; sid=cookie-0123456789",
  };
  const message =
    "openai error: production is busy for sk-other-0123456789, tk-third-0123456789, cookie-0123456789";
  const shown = await told({ headers }, { error: { message } });
  expect(shown).toContain("openai error: production is busy for <key>, <key>, <key>");
  for (const secret of ["sk-other", "tk-third", "cookie-0"]) expect(shown).not.toContain(secret);
});

test("the values of a base URL's query stand nowhere, as they were meant and as they were sent", async () => {
  const baseURL = "https://g.test/v1?api-version=2026-preview&code=a%2Fsecret%20word";
  const message = "2026-preview does not know a/secret word, nor a%2Fsecret%20word";
  const shown = await told({ baseURL }, { error: { message } });
  expect(shown).toContain("<key> does not know <key>, nor <key>");
  expect(shown).not.toMatch(/preview|secret/);
});

test("a version in the base URL's query may stand in a picture's own URL, a key in it may not", async () => {
  const baseURL = "https://g.test/v1?api-version=2026-11-01-preview&sub-key=sub-0123456789-abcdef";
  const url = "https://g.test/f/1.png?api-version=2026-11-01-preview&k=sub-0123456789-abcdef";
  const provider = openaiCompatible({ baseURL, apiKey: key });
  const fetch = async () =>
    Response.json({ data: [{ url, revised_prompt: "2026-11-01-preview" }] });
  const { image } = await createImageClient({ provider, fetch }).generate({ prompt: "x" });
  expect(image.url).toBe("https://g.test/f/1.png?api-version=2026-11-01-preview&k=<key>");
  expect(image.revisedPrompt).toBe("<key>");
});

test("a webhook's secret is in no message, neither a short one that is refused nor one that is sent back", async () => {
  const secret = "hook-secret-0123456789";
  const make = (webhooks: object, fetch?: typeof globalThis.fetch) =>
    createImageClient({
      provider: shortapi({ apiKey: key }),
      webhooks: { url: "https://app.test/hook", ...webhooks } as never,
      ...(fetch && { fetch }),
    });
  expect(() => make({ secret: "hook-short" })).toThrow(/expected at least 16 characters, got 10/);
  expect(() => make({ secret: "hook-short" })).not.toThrow(/hook-short/);
  const client = make({ secret }, async () =>
    Response.json({ code: 400, info: `no such secret: ${secret}` }),
  );
  const error = await client.generate({ prompt: "x" }).catch((reason: unknown) => reason);
  expect(Object(error).message).toContain("no such secret: <key>");
  expect(JSON.stringify([error, Object(error).raw])).not.toContain(secret);
});

test("a proxy's password is in no message and in no cause, whatever the variable is then", async () => {
  vi.stubEnv("HTTPS_PROXY", "http://proxy-user:pass%20word-7@proxy.test:8080");
  const basic = Buffer.from("proxy-user:pass word-7").toString("base64");
  const provider = openaiCompatible({ baseURL: "https://g.test/v1", apiKey: key });
  const fetch = async () => {
    const proxy = process.env.HTTPS_PROXY;
    throw Object.assign(new TypeError(`no tunnel through ${proxy}`), { proxy, basic });
  };
  const error = await createImageClient({ provider, fetch })
    .generate({ prompt: "x" })
    .catch((reason: unknown) => reason);
  const { message, cause } = Object(error);
  expect(message).toContain("no tunnel through http://<key>@proxy.test:8080");
  expect(JSON.stringify([message, cause, String(cause)])).not.toMatch(/word-7|cHJveH/);
});

test("the password of a proxy whose address cannot be read is on no error", async () => {
  vi.stubEnv("HTTP_PROXY", "http://proxy-user:pass-word-7@[proxy");
  vi.resetModules();
  const fresh = await import("../../src/index");
  const provider = fresh.openaiCompatible({ baseURL: "http://g.invalid/v1", apiKey: key });
  const error = await fresh
    .createImageClient({ provider })
    .generate({ prompt: "x" })
    .catch((reason: unknown) => reason);
  expect(error).toMatchObject({ charged: "no" });
  const { message, cause } = Object(error);
  expect(`${message} ${inspect(error, { depth: 9 })} ${inspect(cause)}`).not.toContain("word-7");
});

// ---- keys that change ----

test("of the keys that were given the last 16 are known, and each whose call is under way", () => {
  const secrets = new Secrets({}, "");
  const endFirst = secrets.hold("key-number-1000");
  for (let count = 1; count <= 200; count += 1) secrets.hold(`token-number-${1000 + count}`)();
  const known = () => secrets.all.filter((each) => each.includes("number"));
  expect(known()).toHaveLength(17);
  expect(secrets.strike("key-number-1000 token-number-1200 token-number-1185")).toBe(
    "<key> <key> <key>",
  );
  expect(secrets.strike("token-number-1184")).toBe("token-number-1184");
  endFirst();
  expect(known()).toHaveLength(16);
  expect(secrets.strike("key-number-1000")).toBe("key-number-1000");
});

test("a key with several calls under way is known until the last of them has ended", () => {
  const secrets = new Secrets({}, "");
  const ends = [secrets.hold("key-number-1000"), secrets.hold("key-number-1000")];
  for (let count = 1; count <= 20; count += 1) secrets.hold(`token-number-${1000 + count}`)();
  ends[0]?.();
  expect(secrets.strike("key-number-1000")).toBe("<key>");
  ends[1]?.();
  expect(secrets.strike("key-number-1000")).toBe("key-number-1000");
});

test("a key that is given once more counts as new", () => {
  const secrets = new Secrets({}, "");
  const give = (name: string) => secrets.hold(`key-number-${name}`)();
  give("first");
  for (let count = 0; count < 15; count += 1) give(`${100 + count}`);
  give("first");
  give("last");
  expect(secrets.strike("key-number-first")).toBe("<key>");
  expect(secrets.strike("key-number-100")).toBe("key-number-100");
});

test("of two secrets the longer goes first, so that no end of it stays", () => {
  const secrets = new Secrets({ "x-token": `${key}-and-more` }, "");
  secrets.hold(key);
  expect(secrets.strike(`${key}-and-more ${key}`)).toBe("<key> <key>");
});

test("a hundred calls at once, each with a token of its own, show none in error, cause or raw", async () => {
  let count = 0;
  const tokens = Array.from({ length: 100 }, (_, index) => `token-of-call-${1000 + index}`);
  const provider = openaiCompatible({
    baseURL: "https://g.test/v1",
    apiKey: () => tokens[count++ % tokens.length] ?? "",
  });
  let release: () => void = () => {};
  const allSent = new Promise<void>((resolve) => {
    release = resolve;
  });
  const client = createImageClient({
    provider,
    fetch: async (_, init) => {
      const token = String(new Headers(init?.headers).get("authorization"));
      if (count === tokens.length) release();
      await allSent;
      const index = tokens.indexOf(token.slice(7));
      if (index % 2 === 0) throw Object.assign(new TypeError(`reset for ${token}`), { token });
      const error = { message: `no ${token}`, [token]: token };
      return Response.json({ error }, { status: 400 });
    },
  });
  const errors = await Promise.all(
    tokens.map(() => client.generate({ prompt: "x" }).catch((reason: unknown) => reason)),
  );
  expect(new Set(errors.map((error) => Object(error).code))).toEqual(
    new Set(["submission_unknown", "invalid_request"]),
  );
  for (const error of errors) {
    const { message, raw, cause } = Object(error);
    const shown = [message, JSON.stringify(raw), String(cause), String(Object(cause).token)];
    expect(shown.join()).not.toContain("token-of-call");
  }
});

test("what a success says shows no key of a call that ended long ago", async () => {
  const shown = await told({}, { ...settled, note: key }, 200);
  expect(shown).not.toContain(key);
});
