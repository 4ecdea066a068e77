import { afterEach, expect, test, vi } from "vitest";
import { ProviderApi } from "../../src/api/api";
import { Transport } from "../../src/http/transport";
import { shortapi, trinetra } from "../../src/index";
import {
  type Adapter,
  createProvider,
  type Provider,
  type ProviderSettings,
} from "../../src/provider";
import { jumpingClock, onePixelPng, stubbed } from "../providers/fixtures";

afterEach(() => vi.unstubAllEnvs());

const { adapter } = trinetra();

function gatewayOf(provider: Provider, respond: () => Response = () => Response.json({})) {
  const calls: { url: string; headers: Headers; body: unknown }[] = [];
  const transport = new Transport({
    fetch: async (url, init) => {
      calls.push({ url: String(url), headers: new Headers(init?.headers), body: init?.body });
      return respond();
    },
    ...{
      clock: jumpingClock(),
      timeoutMs: 1_000,
      attemptTimeoutMs: 1_000,
      allowPrivateNetwork: false,
    },
    ...{ trustedOrigin: "https://p.test", maxAnswerBytes: 10_000, maxDownloadBytes: 10_000 },
  });
  return { gateway: new ProviderApi(provider, transport), calls };
}

const provide = (settings: Partial<ProviderSettings> = {}, more: Partial<Adapter> = {}) =>
  createProvider(
    { ...adapter, ...more },
    { baseURL: "https://p.test/base/", apiKey: "key-0123456789", ...settings },
  );
const post = { method: "POST", path: "/create", body: { json: { a: 1 } } } as const;
const limits = { timeoutMs: 1_000 };

test("a call becomes a URL below the base, with its query escaped", async () => {
  const { gateway } = gatewayOf(provide());
  const prepared = await gateway.prepare({ method: "GET", path: "/q", query: { id: "a b&c=/é" } });
  expect(prepared).toMatchObject({
    method: "GET",
    url: "https://p.test/base/q?id=a+b%26c%3D%2F%C3%A9",
  });
  expect(prepared).not.toHaveProperty("body");
  expect(prepared.headers.accept).toBe("application/json");
});

test("a JSON body has its type, and every attempt sends the same", async () => {
  const { gateway, calls } = gatewayOf(provide());
  const prepared = await gateway.prepare(post);
  await gateway.exchange("create", prepared, limits);
  await gateway.exchange("create", prepared, limits);
  expect(calls[0]?.headers.get("content-type")).toBe("application/json");
  expect(calls[0]?.body).toBe('{"a":1}');
  expect(calls[1]).toEqual(calls[0]);
});

test("parts become a form with the boundary in its type", async () => {
  const { gateway } = gatewayOf(provide());
  const file = { bytes: onePixelPng, mediaType: "image/png", fileName: 'a"b\r\n.png' };
  const { headers, body } = await gateway.prepare({
    ...{ method: "POST", path: "/edit" },
    body: {
      parts: [
        { name: "prompt", value: "schön\r\n" },
        { name: "image", value: file },
      ],
    },
  });
  const form = await new Response(body ?? null, { headers }).formData();
  expect(form.get("prompt")).toBe("schön\r\n");
  const part = form.get("image");
  expect(part).toBeInstanceOf(File);
  expect(part).toMatchObject({ type: "image/png", size: onePixelPng.byteLength });
});

test("the caller's headers go along, and the key and a call's own headers go before them", async () => {
  const headers = { "X-API-Key": "wrong", "X-Tenant": "7", accept: "text/html" };
  const { gateway, calls } = gatewayOf(provide({ headers }));
  await gateway.exchange(
    "create",
    await gateway.prepare({ ...post, headers: { "x-tenant": "8" } }),
    limits,
  );
  expect(Object.fromEntries(calls[0]?.headers ?? [])).toMatchObject({
    "x-api-key": "key-0123456789",
    "x-tenant": "8",
    accept: "application/json",
  });
});

test("the key is asked for at each send, so that it may change", async () => {
  let count = 0;
  const apiKey = async () => {
    count += 1;
    return ` key-number-${count}\n`;
  };
  const { gateway, calls } = gatewayOf(provide({ apiKey }));
  const prepared = await gateway.prepare(post);
  await gateway.exchange("create", prepared, limits);
  await gateway.exchange("create", prepared, limits);
  expect(calls.map(({ headers }) => headers.get("x-api-key"))).toEqual([
    "key-number-1",
    "key-number-2",
  ]);
});

test("without a key of the caller's the variable of the provider serves", async () => {
  vi.stubEnv("TRINETRA_API_KEY", "from-the-environment");
  const { gateway, calls } = gatewayOf(createProvider(adapter, { baseURL: "https://p.test" }));
  await gateway.exchange("create", await gateway.prepare(post), limits);
  expect(calls[0]?.headers.get("x-api-key")).toBe("from-the-environment");
});

test.each([undefined, "", "  "])(
  "a key of %j is missing, and the error names the variable",
  async (value) => {
    vi.stubEnv("SHORTAPI_KEY", value);
    const { client, calls } = stubbed(shortapi(), () => new Response("{}"));
    await expect(client.generate({ prompt: "x" })).rejects.toMatchObject({
      code: "authentication",
      charged: "no",
      message: expect.stringContaining("SHORTAPI_KEY"),
    });
    expect(calls).toHaveLength(0);
  },
);

test("an apiKey function that throws is the caller's own error", async () => {
  const cause = new Error("vault sealed");
  for (const apiKey of [
    () => Promise.reject(cause),
    () => {
      throw cause;
    },
  ]) {
    const { gateway, calls } = gatewayOf(provide({ apiKey }));
    await expect(
      gateway.exchange("create", await gateway.prepare(post), limits),
    ).rejects.toMatchObject({ code: "callback_failed", callback: "apiKey", cause, charged: "no" });
    expect(calls).toHaveLength(0);
  }
});

test("an apiKey function that gives anything but a string is refused before anything is sent", async () => {
  // What JavaScript callers may do.
  const number = (() => 12_345) as unknown as () => string;
  for (const apiKey of [number, async () => number()]) {
    const { gateway, calls } = gatewayOf(provide({ apiKey }));
    await expect(
      gateway.exchange("create", await gateway.prepare(post), limits),
    ).rejects.toMatchObject({
      code: "authentication",
      message: expect.stringContaining("no string"),
    });
    expect(calls).toHaveLength(0);
  }
});

test.each(["kéy-0123456789", "key 0123456789", "key\r\nx: 1", "key\u0000"])(
  "a key %j that no header can hold is refused before anything is sent",
  async (apiKey) => {
    const { gateway, calls } = gatewayOf(provide({ apiKey }));
    await expect(
      gateway.exchange("create", await gateway.prepare(post), limits),
    ).rejects.toMatchObject({ code: "authentication", charged: "no" });
    expect(calls).toHaveLength(0);
  },
);

test.each(["x-request-id", "request-id"])(
  "the provider's id of the exchange is read from %s",
  async (name) => {
    const { gateway } = gatewayOf(provide(), () =>
      Response.json({ error: "no" }, { status: 400, headers: { [name]: "req-7" } }),
    );
    const reading = await gateway.exchange("create", await gateway.prepare(post), limits);
    expect(reading).toMatchObject({ status: 400, requestId: "req-7" });
    expect(reading.raw()).toEqual({ error: "no" });
  },
);

test("an adapter that throws has not understood the response, and the charge is unknown", async () => {
  const read = () => {
    throw new Error("bug with key-0123456789");
  };
  const { gateway } = gatewayOf(provide({}, { read }));
  const { outcome } = await gateway.exchange("create", await gateway.prepare(post), limits);
  expect(outcome).toMatchObject({
    kind: "malformed_response",
    charged: "unknown",
    message: expect.stringContaining("bug with <key>"),
  });
});

test("a long message is cut, and what was not JSON is kept as its beginning", async () => {
  const page = `<html>${"x".repeat(5_000)}`;
  const { gateway } = gatewayOf(provide(), () => new Response(page, { status: 502 }));
  const reading = await gateway.exchange("create", await gateway.prepare(post), limits);
  expect(reading.raw()).toBe(`${page.slice(0, 500)}…`);
  expect(gateway.clean("y".repeat(5_000))).toHaveLength(501);
});

test("a message that is cut in the middle of the key shows no half of it", async () => {
  const { gateway } = gatewayOf(provide());
  await gateway.exchange("create", await gateway.prepare(post), limits);
  expect(gateway.clean(`${"y".repeat(495)} key-0123456789`)).not.toContain("key-");
  const page = `${"y".repeat(495)} key-0123456789`;
  const { gateway: other } = gatewayOf(provide(), () => new Response(page, { status: 502 }));
  const reading = await other.exchange("create", await other.prepare(post), limits);
  expect(reading.raw()).toContain("yyy");
  expect(reading.raw()).not.toContain("key-");
});

test("what a response says of a picture comes through as it is", async () => {
  const outputs = [{ url: "https://cdn.test/1.png", base64: "AAAA", revisedPrompt: "a cat" }];
  const read = () =>
    ({ state: "succeeded", outputs, model: "m", usage: { outputTokens: 1 } }) as const;
  const { gateway } = gatewayOf(provide({}, { read }));
  const { outcome } = await gateway.exchange("query", await gateway.prepare(post), limits);
  expect(outcome).toEqual({ state: "succeeded", outputs, model: "m", usage: { outputTokens: 1 } });
});

test.each(["", "p.test", "ftp://p.test", "https://user:secret-word@p.test", "https://user@p.test"])(
  "a base URL of %j is refused, and no password is repeated",
  (baseURL) => {
    expect(() => provide({ baseURL })).toThrow(expect.objectContaining({ field: "baseURL" }));
    expect(() => provide({ baseURL })).not.toThrow(/secret-word/);
  },
);
