import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import type { SandboxFaultKind } from "../../src/testing/sandbox";
import {
  allProviders,
  aMoment,
  failureOf,
  imagesForThreeTasks,
  jobProviders,
  prompt,
  providerOf,
  reasonOf,
  type Stage,
  startStage,
  unkeyed,
  until,
} from "../support/stage";

// ---- the response was lost, or says nothing: the charge is unknown, and only a key sends it again ----

const doubtful: readonly { what: string; fault: SandboxFaultKind }[] = [
  { what: "408", fault: { fault: "refusal", status: 408 } },
  { what: "499", fault: { fault: "refusal", status: 499 } },
  { what: "500 of its own", fault: { fault: "unavailable", status: 500, ownBody: true } },
  { what: "502", fault: { fault: "unavailable", status: 502 } },
  { what: "a gateway's 503 page", fault: { fault: "unavailable", status: 503 } },
  { what: "a 503 page with Retry-After", fault: { fault: "unavailable", retryAfterSeconds: 40 } },
  { what: "a 503 in its own words", fault: { fault: "unavailable", ownBody: true } },
  { what: "423", fault: { fault: "refusal", status: 423 } },
  { what: "424", fault: { fault: "refusal", status: 424 } },
  { what: "425", fault: { fault: "refusal", status: 425 } },
  { what: "504", fault: { fault: "unavailable", status: 504 } },
  { what: "502 after acceptance", fault: { fault: "accepted-but-unavailable" } },
  { what: "503 after acceptance", fault: { fault: "accepted-but-unavailable", status: 503 } },
  { what: "half of its JSON", fault: { fault: "malformed" } },
  { what: "an empty body", fault: { fault: "malformed", body: "" } },
  { what: "JSON that means nothing", fault: { fault: "malformed", body: "[]" } },
  { what: "a body that breaks off", fault: { fault: "truncated" } },
  { what: "301", fault: { fault: "redirect", location: "/elsewhere", status: 301 } },
  { what: "302", fault: { fault: "redirect", location: "/elsewhere", status: 302 } },
  { what: "303", fault: { fault: "redirect", location: "/elsewhere", status: 303 } },
];

test.for(unkeyed.flatMap((name) => doubtful.map((each) => ({ name, ...each }))))(
  "a create that $name answers with $what is sent once, and its charge is unknown",
  async ({ name, fault }) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "create", ...fault, times: Infinity });
    const error = await failureOf(stage.client(name).generate({ prompt }));
    await aMoment();
    expect(stage.count("create")).toBe(1);
    expect(stage.sandbox.requests).toHaveLength(1);
    expect(error.charged).toBe("unknown");
    expect(error.retryable).toBe(false);
    expect(["SubmissionUnknownError", "MalformedResponseError"]).toContain(error.name);
    expect(error.job?.reference.tasks).toMatchObject([{ state: "unknown" }]);
  },
);

test.for(doubtful)(
  "a create that aigptimage answers with $what is sent again under the same key, and billed once",
  async ({ fault }) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: "aigptimage", phase: "create", ...fault, times: 2 });
    const { image } = await stage.client("aigptimage").generate({ prompt });
    expect((await image.bytes()).byteLength).toBeGreaterThan(0);
    expect(stage.count("create")).toBe(3);
    const keys = stage.requests("create").map((each) => each.headers["x-request-id"]);
    expect(new Set(keys).size).toBe(1);
    expect(stage.sandbox.charges).toHaveLength(1);
    expect(stage.sandbox.charges[0]?.idempotencyKey).toBe(keys[0]);
  },
);

test("aigptimage's create is sent five times at most when every response is lost", async () => {
  await using stage = await startStage();
  const fault = { fault: "reset-after-acceptance", times: Infinity } as const;
  stage.sandbox.inject({ provider: "aigptimage", phase: "create", ...fault });
  const error = await failureOf(stage.client("aigptimage").generate({ prompt }));
  await aMoment();
  expect(error).toMatchObject({ name: "SubmissionUnknownError", charged: "unknown" });
  expect(stage.count("create")).toBe(5);
  expect(stage.sandbox.charges).toHaveLength(1);
  expect(error.job?.reference.tasks[0]?.key).toBe(stage.sandbox.charges[0]?.idempotencyKey);
});

test.for([
  { what: "402", fault: { fault: "refusal", status: 402 } },
  { what: "400", fault: { fault: "refusal", status: 400 } },
  { what: "429", fault: { fault: "rate-limited", retryAfterSeconds: 3_600 } },
] as const)(
  "after a lost create, a refusal of the second attempt with $what cannot say that nothing was charged",
  async ({ fault }) => {
    await using stage = await startStage();
    const target = { provider: "aigptimage", phase: "create" } as const;
    stage.sandbox.inject({ ...target, fault: "reset-after-acceptance" });
    stage.sandbox.inject({ ...target, ...fault });
    const error = await failureOf(stage.client("aigptimage").generate({ prompt }));
    expect(stage.count("create")).toBe(2);
    expect(stage.sandbox.charges).toHaveLength(1);
    expect(error.charged).toBe("unknown");
    expect(error.retryable).toBe(false);
    expect(error.job?.reference.tasks).toMatchObject([{ state: "unknown" }]);
  },
);

test.each(allProviders)(
  "%s: a create whose call ended while it waited for its key is never sent",
  async (name) => {
    await using stage = await startStage();
    const { baseURL, apiKey } = stage.sandbox[name];
    let give: (key: string) => void = () => {};
    let isAsked = false;
    const given = new Promise<string>((resolve) => {
      give = resolve;
    });
    const provider = providerOf(name, {
      baseURL,
      // The types of the sandbox's access know plain keys alone.
      apiKey: (() => {
        isAsked = true;
        return given;
      }) as unknown as string,
    });
    const client = new ProviderClient({ provider }, stage.clock);
    const controller = new AbortController();
    const generating = client.generate({ prompt }, { signal: controller.signal });
    await until(() => isAsked);
    controller.abort(new Error("enough"));
    expect(await reasonOf(generating)).toMatchObject({ message: "enough" });
    give(apiKey);
    await client.close();
    expect(stage.count("create")).toBe(0);
    expect(stage.sandbox.charges).toHaveLength(0);
  },
);

test("after a lost create, an `apiKey` function that throws cannot say that nothing was charged", async () => {
  await using stage = await startStage();
  const target = { provider: "aigptimage", phase: "create" } as const;
  stage.sandbox.inject({ ...target, fault: "reset-after-acceptance" });
  const { baseURL, apiKey } = stage.sandbox.aigptimage;
  let asked = 0;
  const provider = providerOf("aigptimage", {
    baseURL,
    // The types of the sandbox's access know plain keys alone.
    apiKey: (() => {
      asked += 1;
      if (asked > 1) throw new Error("the vault is closed");
      return apiKey;
    }) as unknown as string,
  });
  const error = await failureOf(new ProviderClient({ provider }, stage.clock).generate({ prompt }));
  expect(stage.sandbox.charges).toHaveLength(1);
  expect(error).toMatchObject({ name: "CallbackError", callback: "apiKey", charged: "unknown" });
  expect(error.message).toMatch(/It may have been charged\.$/);
  expect(error.job).toBeDefined();
});

test("after a lost create and a time-out during the wait, the charge is unknown", async () => {
  await using stage = await startStage();
  const target = { provider: "aigptimage", phase: "create" } as const;
  stage.sandbox.inject({ ...target, fault: "reset-after-acceptance", times: Infinity });
  const error = await failureOf(
    stage.client("aigptimage", { timeoutMs: 1_500 }).generate({ prompt }),
  );
  expect(error.charged).toBe("unknown");
  expect(stage.count("create")).toBeLessThanOrEqual(2);
});

test("an idempotencyKey makes the same call again a call that is billed once, also when it is split", async () => {
  await using stage = await startStage();
  const client = stage.client("aigptimage");
  const options = { idempotencyKey: "order 4711 · ünïcode" };
  const first = await client.generate({ prompt, n: 2 }, options);
  const second = await stage.client("aigptimage").generate({ prompt, n: 2 }, options);
  expect(first.images).toHaveLength(2);
  expect(second.images).toHaveLength(2);
  expect(stage.count("create")).toBe(4);
  expect(stage.sandbox.charges).toHaveLength(2);
  const keys = stage.requests("create").map((each) => each.headers["x-request-id"]);
  expect(new Set(keys).size).toBe(2);
});

test.for(unkeyed)(
  "an idempotencyKey that %s does not honour is named in a warning",
  async (name) => {
    await using stage = await startStage();
    const client = stage.client(name);
    const { warnings } = await client.generate({ prompt }, { idempotencyKey: "order-1" });
    expect(warnings.join()).toMatch(/idempotencyKey/);
    expect(JSON.stringify(stage.requests("create"))).not.toContain("order-1");
  },
);

/** Three creates, one after the other, of which the one in the middle was accepted and its response lost. */
function losesTheSecond(stage: Stage, provider: (typeof allProviders)[number]) {
  const refused = { provider, phase: "create", fault: "refusal", status: 400 } as const;
  const times = provider === "aigptimage" ? 5 : 1;
  const lost = { provider, phase: "create", fault: "reset-after-acceptance", times } as const;
  for (const fault of [refused, lost, refused]) stage.sandbox.inject(fault);
  return stage.client(provider, { concurrency: 1 });
}

test.for(allProviders)(
  "when of three creates to %s one may have been charged, generate throws its error and not a refusal",
  async (name) => {
    await using stage = await startStage();
    const client = losesTheSecond(stage, name);
    const error = await failureOf(client.generate({ prompt, n: imagesForThreeTasks[name] }));
    expect(error).toMatchObject({ name: "SubmissionUnknownError", retryable: false });
    expect([error, ...error.failures].map(({ charged }) => charged)).toEqual([
      "unknown",
      "no",
      "no",
    ]);
    expect(stage.count("create")).toBe(name === "aigptimage" ? 7 : 3);
  },
);

test.for(jobProviders)(
  "when of three creates to %s one may have been charged, submit throws its error and not a refusal",
  async (name) => {
    await using stage = await startStage();
    const client = losesTheSecond(stage, name);
    const error = await failureOf(client.submit({ prompt, n: imagesForThreeTasks[name] }));
    expect(error).toMatchObject({ charged: "unknown", retryable: false });
    expect(error.failures).toMatchObject([{ charged: "no" }, { charged: "no" }]);
    expect(stage.count("create")).toBe(name === "aigptimage" ? 7 : 3);
  },
);
