import { inspect } from "node:util";
import type { Dispatcher } from "undici";
import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import {
  aigptimage,
  createImageClient,
  type ImageClientOptions,
  type ImageEvent,
  isImageError,
  openai,
  openaiCompatible,
  shortapi,
  trinetra,
} from "../../src/index";
import { jumpingClock } from "../providers/fixtures";

const key = "sk-secret-0123456789";

const providers = {
  shortapi: shortapi({ apiKey: key }),
  aigptimage: aigptimage({ apiKey: async () => key }),
  trinetra: trinetra({ apiKey: key, headers: { "x-proxy-token": `${key}-of-the-proxy` } }),
  openai: openai({ apiKey: () => `  ${key}\n` }),
  gateway: openaiCompatible({ baseURL: "https://gateway.test/v1", apiKey: key }),
};

/** Everything that a log could show of a value. */
function visible(value: unknown): string {
  const options = { depth: Number.POSITIVE_INFINITY, showHidden: true };
  const texts = [
    inspect(value, { ...options, maxArrayLength: null, maxStringLength: null }),
    String(JSON.stringify(value)),
    String(value),
  ];
  for (let error = value; error instanceof Error; error = error.cause) {
    texts.push(error.message, String(error.stack), String(JSON.stringify(error)));
    if (isImageError(error)) texts.push(String(JSON.stringify(error.job?.reference)));
  }
  return texts.join("\n");
}

function expectNoKey(...values: unknown[]): void {
  for (const value of values) expect(visible(value)).not.toContain(key);
}

/** The key in every field that any of the providers has. */
const echoed = {
  code: key,
  msg: key,
  message: key,
  info: key,
  detail: key,
  id: key,
  job_id: key,
  status: key,
  model: key,
  [key]: key,
  error: {
    message: `Incorrect API key provided: ${key}.`,
    type: key,
    code: key,
    param: key,
    moderation_details: { moderation_stage: key, categories: [key] },
  },
  data: { taskId: key, job_id: key, state: key, failCode: key, failMsg: key, info: key },
};

const accepted = {
  shortapi: { code: 0, data: { job_id: `job-${key}`, info: key } },
  aigptimage: { code: 200, msg: key, data: { taskId: `task-${key}` } },
  trinetra: { job_id: `job-${key}`, status: "queued", message: key },
};

const url = `https://203.0.113.7/${key}/1.png?key=${key}`;
const done = {
  shortapi: { code: 0, info: key, data: { status: 2, result: { images: [{ url }] } } },
  aigptimage: {
    code: 200,
    msg: key,
    data: { state: "success", model: key, resultJson: { resultUrls: [url] } },
  },
  trinetra: { id: key, status: "succeeded", model: key, output: { outputs: [{ url }] } },
};

const failed = {
  shortapi: { code: 0, data: { status: `error`, error: key, info: key } },
  aigptimage: { code: 200, data: { state: "fail", failCode: key, failMsg: key } },
  trinetra: { status: "failed", error: { message: key, code: key } },
};

function watched(provider: ImageClientOptions["provider"], options: Partial<ImageClientOptions>) {
  const events: ImageEvent[] = [];
  const client = new ProviderClient(
    { provider, timeoutMs: 60_000, onEvent: (event) => events.push(event), ...options },
    jumpingClock(),
  );
  return { client, events };
}

const reply = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  new Response(typeof body === "string" ? body : JSON.stringify(body), {
    status,
    headers: { "x-request-id": key, "retry-after": "1", "x-echo": key, ...headers },
  });

const everyProvider = Object.entries(providers);
const jobProviders = Object.entries(providers).flatMap(([name, provider]) =>
  name === "shortapi" || name === "aigptimage" || name === "trinetra"
    ? [[name, provider] as const]
    : [],
);

test.each(everyProvider)("a client and a provider of %s show no key", (_name, provider) => {
  expectNoKey(provider, provider.adapter, createImageClient({ provider }));
});

test.each(
  everyProvider.flatMap(([name, provider]) =>
    [200, 302, 400, 401, 402, 403, 404, 409, 422, 429, 500, 503].map(
      (status) => [name, status, provider] as const,
    ),
  ),
)(
  "%s echoing the key everywhere with HTTP %i leaks it nowhere",
  async (_name, status, provider) => {
    const { client, events } = watched(provider, { fetch: async () => reply(status, echoed) });
    const error = await client.generate({ prompt: "x" }).catch((reason: unknown) => reason);
    expect(isImageError(error)).toBe(true);
    expect(visible(error)).toContain("<key>");
    expectNoKey(error, ...events, client);
  },
);

test.each(everyProvider)(
  "%s echoing the key in a page of HTML leaks it nowhere",
  async (_, provider) => {
    for (const status of [200, 401, 502]) {
      const page = `<html>${key}</html>`;
      const { client, events } = watched(provider, { fetch: async () => reply(status, page) });
      const error = await client.generate({ prompt: "x" }).catch((reason: unknown) => reason);
      expect(isImageError(error)).toBe(true);
      expectNoKey(error, ...events);
    }
  },
);

test.each(jobProviders)(
  "%s with the key in its job's id and URL leaks it nowhere",
  async (name, provider) => {
    const asked: string[] = [];
    const { client, events } = watched(provider, {
      fetch: async (input, init) => {
        asked.push(String(input));
        return reply(200, init?.method === "POST" ? accepted[name] : done[name]);
      },
    });
    const result = await client.generate({ prompt: "x" });
    expectNoKey(result, result.image, result.job, result.job.reference, result.raw, ...events);
    expect(result.image.url).toContain("<key>");
    expect(asked.join()).not.toContain(key);
    const status = await client.resume(result.job.reference).status();
    expectNoKey(status);
  },
);

test.each(jobProviders)(
  "a failed job of %s that speaks the key leaks it nowhere",
  async (name, provider) => {
    const { client, events } = watched(provider, {
      fetch: async (_input, init) =>
        reply(200, init?.method === "POST" ? accepted[name] : failed[name]),
    });
    const error = await client.generate({ prompt: "x" }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ provider: name });
    expectNoKey(error, ...events);
  },
);

test.each(jobProviders)(
  "an unknown state that is the key itself shows none, to the time-out",
  async (name, provider) => {
    const running = {
      shortapi: { code: 0, data: { status: key } },
      aigptimage: { code: 200, data: { state: key } },
      trinetra: { status: key },
    };
    const { client, events } = watched(provider, {
      fetch: async (_input, init) =>
        reply(200, init?.method === "POST" ? accepted[name] : running[name]),
    });
    const error = await client.generate({ prompt: "x" }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "timeout" });
    expect(events.filter(({ type }) => type === "status")).toHaveLength(1);
    expectNoKey(error, ...events);
  },
);

test("a picture whose response has the key beside it shows none", async () => {
  const b64_json = "iVBORw0KGgo=";
  const body = {
    data: [{ b64_json, url, revised_prompt: key }],
    model: key,
    [key]: key,
    usage: {},
  };
  const { client, events } = watched(providers.openai, { fetch: async () => reply(200, body) });
  const result = await client.generate({ prompt: "x" });
  expect(result.image.revisedPrompt).toBe("<key>");
  expectNoKey(result, result.images, result.raw, ...events);
});

const headersOf = (init: RequestInit | undefined) => Object.fromEntries(new Headers(init?.headers));

/** Ways in which the libraries of this world put a request's headers on their errors. */
const throwers: Record<string, (headers: Record<string, string>) => unknown> = {
  "in the message": (headers) => new Error(`request failed: ${JSON.stringify(headers)}`),
  "in a property": (headers) => Object.assign(new Error("failed"), { config: { headers } }),
  "in a cause": (headers) =>
    new TypeError("fetch failed", {
      cause: Object.assign(new Error("reset"), { code: "ECONNRESET", headers }),
    }),
  "far down": (headers) => {
    const deep = Array.from({ length: 12 }).reduce<object>((inner) => ({ inner }), { headers });
    return Object.assign(new Error("failed"), { deep });
  },
  "in a hidden property": (headers) =>
    Object.defineProperty(new Error("failed"), "request", { value: headers, enumerable: false }),
  "under a symbol": (headers) =>
    Object.assign(new Error("failed"), { [Symbol("kHeaders")]: headers }),
  "behind a hundred others": (headers) =>
    Object.assign(new Error("failed"), {
      list: [...Array.from({ length: 150 }, (_, index) => index), ...Object.values(headers)],
    }),
  "at the end of a long text": (headers) =>
    Object.assign(new Error("failed"), {
      request: `${"x".repeat(20_000)}${JSON.stringify(headers)}`,
    }),
  "in a list of errors": (headers) =>
    new AggregateError([new Error(JSON.stringify(headers))], "all failed"),
  "as a string": (headers) => `failed with ${JSON.stringify(headers)}`,
  "as an object": (headers) => ({ headers }),
  "in a Map": (headers) =>
    Object.assign(new Error("failed"), { headers: new Map(Object.entries(headers)) }),
};

test.each(
  Object.keys(throwers).flatMap((how) => everyProvider.map(([name]) => [how, name] as const)),
)("a fetch that throws with the key %s leaks it nowhere at %s", async (how, name) => {
  const provider = providers[name as keyof typeof providers];
  const { client, events } = watched(provider, {
    fetch: async (_input, init) => {
      throw throwers[how]?.(headersOf(init));
    },
  });
  const error = await client.generate({ prompt: "x" }).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: "submission_unknown", charged: "unknown" });
  expectNoKey(error, ...events);
});

test.each(
  Object.keys(throwers).flatMap((how) => jobProviders.map(([name]) => [how, name] as const)),
)("a poll whose fetch throws with the key %s leaks it nowhere at %s", async (how, name) => {
  const { client, events } = watched(providers[name], {
    fetch: async (_input, init) => {
      if (init?.method === "POST") return reply(200, accepted[name]);
      throw throwers[how]?.(headersOf(init));
    },
  });
  const job = await client.submit({ prompt: "x" });
  const statusError = await job.status().catch((reason: unknown) => reason);
  const resultError = await job.result().catch((reason: unknown) => reason);
  expect(statusError).toMatchObject({ code: "provider_unavailable" });
  expect(resultError).toMatchObject({ code: "timeout" });
  expectNoKey(statusError, resultError, job, ...events);
});

test.each(Object.keys(throwers))(
  "a dispatcher that throws with the key %s leaks it nowhere",
  async (how) => {
    const dispatcher = {
      request: async ({ headers }: { headers: Record<string, string> }) => {
        throw throwers[how]?.(headers);
      },
    } as unknown as Dispatcher;
    const { client, events } = watched(providers.trinetra, { dispatcher });
    const error = await client.generate({ prompt: "x" }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "submission_unknown" });
    expectNoKey(error, ...events);
  },
);

test("a download whose error speaks the key leaks it nowhere", async () => {
  const { client, events } = watched(providers.gateway, {
    allowPrivateNetwork: true,
    fetch: async (_input, init) => {
      if (init?.method === "POST") return reply(200, { data: [{ url: "https://cdn.test/1.png" }] });
      throw Object.assign(new TypeError(`who would tell ${key}`), { key });
    },
  });
  const { image } = await client.generate({ prompt: "x" });
  const error = await image.bytes().catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: "download_failed", charged: "yes" });
  expectNoKey(error, ...events);
});

test("the key never goes to the CDN", async () => {
  const sent: string[] = [];
  const { client } = watched(providers.trinetra, {
    allowPrivateNetwork: true,
    fetch: async (input, init) => {
      const to = String(input);
      if (init?.method === "POST") return reply(202, { job_id: "job" });
      if (to.includes("/v1/jobs/")) {
        const outputs = [{ url: "https://cdn.test/1.png" }];
        return reply(200, { status: "succeeded", output: { outputs } });
      }
      sent.push(to, JSON.stringify([...new Headers(init?.headers)]));
      if (to.endsWith("1.png")) return reply(302, "", { location: "https://other.test/2.png" });
      return new Response(new Uint8Array([0, 1, 2, 250]));
    },
  });
  const { image } = await client.generate({ prompt: "x" });
  await image.bytes();
  expect(sent).toHaveLength(4);
  expect(sent.join()).not.toContain(key);
});

test("a key given where none belongs is not repeated in the message", () => {
  const misplaced = [
    () => createImageClient({ provider: providers.openai, apiKey: key } as never),
    () => shortapi({ baseURL: `https://user:${key}@api.shortapi.ai` }),
    () =>
      createImageClient({ provider: providers.openai }).estimate({
        prompt: "x",
        apiKey: key,
      } as never),
  ];
  for (const make of misplaced) {
    let error: unknown;
    try {
      make();
    } catch (reason) {
      error = reason;
    }
    expect(error).toMatchObject({ code: "invalid_request" });
    expectNoKey(error);
  }
});

test("a key with characters that no header can hold is refused without being shown", async () => {
  const { client } = watched(trinetra({ apiKey: `${key}\u2026` }), {
    fetch: async () => reply(200, {}),
  });
  const error = await client.generate({ prompt: "x" }).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: "authentication", charged: "no" });
  expectNoKey(error);
});

test("a key of a few letters is part of many words, and leaves them alone", async () => {
  const body = { data: [{ url: "https://cdn.test/openai/1.png" }] };
  const { client } = watched(openaiCompatible({ baseURL: "https://g.test/v1", apiKey: "openai" }), {
    fetch: async () => reply(200, body),
  });
  const { image } = await client.generate({ prompt: "x" });
  expect(image.url).toBe("https://cdn.test/openai/1.png");
});
