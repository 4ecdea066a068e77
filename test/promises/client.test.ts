import { expect, test, vi } from "vitest";
import { ProviderClient } from "../../src/client";
import {
  createImageClient,
  type ImageClientOptions,
  openaiCompatible,
  trinetra,
} from "../../src/index";
import { shortapi } from "../../src/providers/index";
import type { ImageEvent } from "../../src/types";
import { TestClock } from "../support/clock";
import { pixel, sendJson, startServer } from "../support/server";
import {
  allProviders,
  aMoment,
  failureOf,
  jobProviders,
  prompt,
  reasonOf,
  startStage,
  systemClock,
  until,
} from "../support/stage";

const provider = trinetra({ baseURL: "https://provider.example", apiKey: "a-key" });

test.for<[string, object]>([
  ["options.provider", { provider: undefined }],
  ["options.timeoutMs", { timeoutMs: 0 }],
  ["options.attemptTimeoutMs", { attemptTimeoutMs: -1 }],
  ["options.concurrency", { concurrency: 0 }],
  ["options.concurrency", { concurrency: 1.5 }],
  ["options.poll", { poll: "1s" }],
  ["options.onUnsupported", { onUnsupported: "ignore" }],
  ["options.maxAnswerBytes", { maxAnswerBytes: 0 }],
  ["options.allowPrivateNetwork", { allowPrivateNetwork: "yes" }],
  ["options.upload", { upload: "https://example.com" }],
  ["options.apiKey", { apiKey: "in the wrong place" }],
])("a wrong option of the client is refused by its name: %s", ([field, wrong]) => {
  // What JavaScript callers may do.
  const options = { provider, ...wrong } as ImageClientOptions;
  expect(() => createImageClient(options)).toThrow(
    expect.objectContaining({ name: "InvalidRequestError", charged: "no", field }),
  );
});

test.for<[string, object]>([
  ["options.signal", { signal: {} }],
  ["options.timeoutMs", { timeoutMs: "1" }],
  ["options.idempotencyKey", { idempotencyKey: "" }],
  ["options.onSubmitted", { onSubmitted: 1 }],
  ["options.saveTo", { saveTo: "" }],
  ["options.onsubmitted", { onsubmitted: () => {} }],
])(
  "a wrong option of a call is refused by its name, and nothing is sent: %s",
  async ([field, wrong]) => {
    await using stage = await startStage();
    const error = await failureOf(stage.client("trinetra").generate({ prompt }, wrong));
    expect(error).toMatchObject({ name: "InvalidRequestError", charged: "no", field });
    expect(stage.sandbox.requests).toHaveLength(0);
  },
);

test.for(allProviders)(
  "check finds every problem of a request for %s and sends nothing",
  async (name) => {
    await using stage = await startStage();
    const client = stage.client(name);
    expect(client.check({ prompt })).toEqual([]);
    const wrong = { prompt: " ", n: 0, nonsense: true };
    const problems = client.check(wrong);
    expect(problems.map((each) => "field" in each && each.field).sort()).toEqual([
      "n",
      "nonsense",
      "prompt",
    ]);
    const error = await failureOf(client.generate(wrong));
    expect(error.failures).toHaveLength(2);
    expect(stage.sandbox.requests).toHaveLength(0);
  },
);

test.for(jobProviders)(
  "what %s cannot do is an error before it is sent, or a warning under omit",
  async (name) => {
    await using stage = await startStage();
    const request =
      name === "trinetra" ? { webhookUrl: "https://example.com/hook" } : { user: "u1" };
    const [field = ""] = Object.keys(request);
    const error = await failureOf(stage.client(name).generate({ prompt, ...request }));
    expect(error).toMatchObject({ name: "UnsupportedError", charged: "no", field });
    expect(stage.sandbox.requests).toHaveLength(0);
    const omitting = stage.client(name, { onUnsupported: "omit" });
    const { warnings } = await omitting.generate({ prompt, ...request });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(field);
    expect(JSON.stringify(stage.requests("create")[0]?.body)).not.toMatch(/u1|hook/);
  },
);

test("estimate gives the list price of all images, and throws for a request that cannot be sent", async () => {
  await using stage = await startStage();
  const client = stage.client("trinetra");
  expect(client.estimate({ prompt, n: 6, quality: "high" })).toEqual({
    ...{ amount: 84, unit: "credits", basis: "list" },
  });
  expect(client.estimate({ prompt, quality: "auto" })).toBeUndefined();
  expect(() => client.estimate({ prompt, n: 0 })).toThrow(
    expect.objectContaining({ name: "InvalidRequestError", field: "n" }),
  );
  expect(stage.client("shortapi").estimate({ prompt, n: 3 })?.amount).toBe(0.18);
  expect(stage.sandbox.requests).toHaveLength(0);
});

test("the cost of a result is the sum of its tasks, as the provider reported it", async () => {
  await using stage = await startStage();
  const { cost } = await stage.client("trinetra").generate({ prompt, n: 6, quality: "low" });
  const billed = stage.sandbox.charges.reduce((sum, each) => sum + each.amount, 0);
  expect(billed).toBe(18);
  expect(cost).toEqual({ amount: billed, unit: "credits", basis: "reported" });
});

test("a client that is disposed of ends its waits", async () => {
  await using stage = await startStage();
  const clock = new TestClock({ auto: false });
  let accepted = false;
  let call: ReturnType<typeof failureOf> | undefined;
  {
    await using client = stage.client("trinetra", {}, clock);
    const onSubmitted = () => {
      accepted = true;
    };
    call = failureOf(client.generate({ prompt }, { onSubmitted }));
    await until(() => accepted);
  }
  expect((await call).name).toBe("ClientClosedError");
});

test("an abort while the key is being fetched sends nothing, and leaves no rejection behind", async () => {
  const unhandled: unknown[] = [];
  const onUnhandled = (reason: unknown) => unhandled.push(reason);
  process.on("unhandledRejection", onUnhandled);
  try {
    await using server = await startServer((_, response) => sendJson(response, {}));
    let give: (key: string) => void = () => {};
    let asked = false;
    const apiKey = () => {
      asked = true;
      return new Promise<string>((resolve) => {
        give = resolve;
      });
    };
    const client = new ProviderClient(
      { provider: openaiCompatible({ baseURL: server.url, apiKey }) },
      systemClock,
    );
    const controller = new AbortController();
    const call = reasonOf(client.generate({ prompt }, { signal: controller.signal }));
    await until(() => asked);
    controller.abort("changed my mind");
    expect(await call).toBe("changed my mind");
    give("the-key");
    await aMoment();
    expect(server.requests).toHaveLength(0);
    expect(unhandled).toEqual([]);
  } finally {
    process.off("unhandledRejection", onUnhandled);
  }
});

test("forty generations come though a test has faked the timers", async () => {
  let sent = 0;
  const fetch = async () => {
    sent += 1;
    return Response.json({ data: [{ b64_json: pixel.toString("base64") }] });
  };
  const baseURL = "https://provider.example/v1";
  const client = createImageClient({
    provider: openaiCompatible({ baseURL, apiKey: "a-key" }),
    fetch,
  });
  await client.generate({ prompt });
  vi.useFakeTimers();
  try {
    for (let count = 0; count < 40; count += 1) await client.generate({ prompt });
  } finally {
    vi.useRealTimers();
  }
  expect(sent).toBe(41);
});

test("an apiKey function is asked at each send, so that a key can be changed", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const { baseURL, apiKey } = stage.sandbox.shortapi;
  let asked = 0;
  const keyed = shortapi({
    baseURL,
    apiKey: async () => {
      asked += 1;
      return ` ${apiKey}\n`;
    },
  });
  await new ProviderClient({ provider: keyed }, stage.clock).generate({ prompt });
  expect(asked).toBe(2);
  expect(stage.sandbox.requests).toHaveLength(2);
});

test("an apiKey function that throws is a CallbackError, and nothing is sent or charged", async () => {
  await using stage = await startStage();
  const cause = new Error("the vault is closed");
  const keyed = shortapi({
    baseURL: stage.sandbox.shortapi.baseURL,
    apiKey: () => Promise.reject(cause),
  });
  const error = await failureOf(
    new ProviderClient({ provider: keyed }, stage.clock).generate({ prompt }),
  );
  expect(error).toMatchObject({ name: "CallbackError", callback: "apiKey", charged: "no", cause });
  expect(stage.sandbox.requests).toHaveLength(0);
});

test("an apiKey function that throws once a job is accepted is never told as not charged", async () => {
  await using stage = await startStage();
  const { baseURL, apiKey } = stage.sandbox.shortapi;
  const cause = new Error("the vault is closed");
  let asked = 0;
  const keyed = shortapi({
    baseURL,
    apiKey: () => {
      asked += 1;
      if (asked > 1) throw cause;
      return apiKey;
    },
  });
  const client = new ProviderClient({ provider: keyed, poll: 1_000 }, stage.clock);
  const error = await failureOf(client.generate({ prompt }));
  expect(error).toMatchObject({ name: "CallbackError", charged: "unknown", cause });
  expect(error.message).toBe("shortapi: Your `apiKey` threw. It may have been charged.");
  expect(stage.count("create")).toBe(1);
});

test("an upload that throws, or gives no URL, is an error before anything is sent", async () => {
  await using stage = await startStage();
  const cause = new Error("the bucket is full");
  const throwing = stage.client("trinetra", { upload: () => Promise.reject(cause) });
  expect(await failureOf(throwing.edit({ prompt, images: [pixel] }))).toMatchObject({
    ...{ name: "CallbackError", callback: "upload", charged: "no", cause },
  });
  const pathless = stage.client("trinetra", { upload: () => "/tmp/a.png" });
  expect(await failureOf(pathless.edit({ prompt, images: [pixel] }))).toMatchObject({
    ...{ name: "InvalidRequestError", charged: "no", field: "images[0]" },
  });
  expect(stage.sandbox.requests).toHaveLength(0);
});

test("a time-out of a call goes before that of the client", async () => {
  await using stage = await startStage({ jobDurationMs: 10_000 });
  const client = stage.client("trinetra", { timeoutMs: 50_000, poll: 1_000 });
  const error = await failureOf(client.generate({ prompt }, { timeoutMs: 3_000 }));
  expect(error).toMatchObject({ name: "TimeoutError", timeoutMs: 3_000 });
  expect(stage.clock.elapsedMs).toBe(3_000);
});

test("a wait of a job has a time-out of its own, from its own start", async () => {
  await using stage = await startStage({ jobDurationMs: 10_000 });
  const job = await stage.client("trinetra", { poll: 1_000 }).submit({ prompt });
  const first = await failureOf(job.result({ timeoutMs: 2_500 }));
  expect(first).toMatchObject({ name: "TimeoutError", timeoutMs: 2_500 });
  const second = await failureOf(job.result({ timeoutMs: 2_500 }));
  expect(second).toMatchObject({ name: "TimeoutError", timeoutMs: 2_500 });
  expect(stage.clock.elapsedMs).toBe(5_000);
});

test("timing says when it was sent, when it was settled, and how often it was asked", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const target = { provider: "trinetra", phase: "poll" } as const;
  stage.sandbox.inject({ ...target, fault: "unknown-state", word: "warming", times: 2 });
  const { timing, job } = await stage.client("trinetra", { poll: 1_000 }).generate({ prompt });
  expect(timing).toEqual({
    submittedAt: new Date(stage.clock.startedAt),
    completedAt: new Date(stage.clock.startedAt + 3_000),
    ...{ durationMs: 3_000, polls: 3 },
  });
  expect(job.reference.submittedAt).toBe(timing.submittedAt.toISOString());
});

test("many images in one call raise no warning of a leak", async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on("warning", onWarning);
  try {
    await using stage = await startStage();
    const controller = new AbortController();
    const options = { signal: controller.signal };
    const { images } = await stage.client("shortapi").generate({ prompt, n: 15 }, options);
    expect(images).toHaveLength(15);
    await aMoment();
    expect(warnings.map((warning) => warning.name)).toEqual([]);
  } finally {
    process.off("warning", onWarning);
  }
});

test("what is logged of a result, an error and an event has no prompt, no key and no picture", async () => {
  await using stage = await startStage();
  const events: ImageEvent[] = [];
  const onEvent = (event: ImageEvent) => events.push(event);
  const secret = "a very private prompt";
  const client = stage.client("openaiCompatible", { onEvent });
  const result = await client.generate({ prompt: secret });
  stage.sandbox.inject({ provider: "openaiCompatible", phase: "create", fault: "moderation" });
  const error = await failureOf(client.generate({ prompt: secret }));
  const shown = JSON.stringify([result, error, events]);
  expect(shown).not.toContain(secret);
  expect(shown).not.toContain(stage.sandbox.openaiCompatible.apiKey);
  expect(shown).not.toContain((await result.image.base64()).slice(0, 100));
  expect(shown.length).toBeLessThan(10_000);
});
