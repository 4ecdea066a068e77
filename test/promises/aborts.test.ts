import type { ServerResponse } from "node:http";
import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import { createImageClient, openaiCompatible } from "../../src/index";
import type { ImageEvent } from "../../src/types";
import type { JobReference } from "../../src/types/reference";
import { TestClock } from "../support/clock";
import { pixel, sendJson, startServer } from "../support/server";
import {
  allProviders,
  aMoment,
  failureOf,
  jobProviders,
  prompt,
  providerOf,
  reasonOf,
  startStage,
  systemClock,
  typesOf,
  until,
} from "../support/stage";

// ---- aborts ----

test.for(allProviders)("a call to %s that is aborted beforehand sends nothing", async (name) => {
  await using stage = await startStage();
  const reason = { mine: true };
  const options = { signal: AbortSignal.abort(reason) };
  expect(await reasonOf(stage.client(name).generate({ prompt }, options))).toBe(reason);
  await aMoment();
  expect(stage.sandbox.requests).toHaveLength(0);
});

test.for(allProviders)(
  "a call to %s that is aborted while it queues for a slot sends nothing",
  async (name) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "create", fault: "hang" });
    const clock = new TestClock({ auto: false });
    const client = stage.client(name, { concurrency: 1 }, clock);
    const stopFirst = new AbortController();
    const first = reasonOf(client.generate({ prompt }, { signal: stopFirst.signal }));
    await until(() => stage.count("create") === 1);
    const controller = new AbortController();
    const reason = new Error("not any more");
    const events: ImageEvent[] = [];
    const second = reasonOf(
      client.generate(
        { prompt },
        { signal: controller.signal, onEvent: (each) => events.push(each) },
      ),
    );
    await aMoment();
    controller.abort(reason);
    expect(await second).toBe(reason);
    await aMoment();
    expect(stage.count("create")).toBe(1);
    expect(events.map((event) => event.type)).not.toContain("submitting");
    stopFirst.abort();
    await first;
  },
);

test("a call that is aborted during `upload` sends nothing", async () => {
  await using stage = await startStage();
  const controller = new AbortController();
  let finish: (url: string) => void = () => {};
  let asked = false;
  const client = stage.client("trinetra", {
    upload: () => {
      asked = true;
      return new Promise((resolve) => {
        finish = resolve;
      });
    },
  });
  const reason = { mine: true };
  const call = reasonOf(client.edit({ prompt, images: [pixel] }, { signal: controller.signal }));
  await until(() => asked);
  controller.abort(reason);
  expect(await call).toBe(reason);
  finish("https://example.com/late.png");
  await aMoment();
  expect(stage.sandbox.requests).toHaveLength(0);
});

test.for(jobProviders)(
  "an abort during %s's create releases the caller at once, and the job is still learnt",
  async (name) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "create", fault: "slow", delayMs: 250 });
    const controller = new AbortController();
    const reason = { mine: true };
    const learnt: JobReference[] = [];
    const events: ImageEvent[] = [];
    const client = stage.client(name, { concurrency: 1, poll: 10 }, systemClock);
    const call = reasonOf(
      client.generate(
        { prompt },
        {
          signal: controller.signal,
          onSubmitted: (job) => learnt.push(job.reference),
          onEvent: (event) => events.push(event),
        },
      ),
    );
    await until(() => stage.sandbox.jobs.length === 1);
    controller.abort(reason);
    expect(await call).toBe(reason);
    // Released before the response: how soon is measured with the anchors.
    expect(learnt).toHaveLength(0);
    // The slot is held until the create has been answered: a second call waits for it.
    const second = client.generate({ prompt });
    await aMoment();
    expect(stage.count("create")).toBe(1);
    await until(() => learnt.length === 1);
    expect(learnt[0]?.tasks).toMatchObject([{ id: stage.sandbox.jobs[0]?.jobId }]);
    expect(typesOf(events)).toEqual(["submitting", "submitted"]);
    expect((await second).images).toHaveLength(1);
    // Of the aborted call nothing but its create was ever sent.
    const [first] = stage.sandbox.jobs;
    const polls = stage.requests("poll").filter((each) => each.jobId === first?.jobId);
    expect(polls).toHaveLength(0);
    const resumed = await stage.client(name, { poll: 10 }, systemClock).resume(learnt[0]).result();
    expect(resumed.images).toHaveLength(1);
  },
);

test("an abort during a create that is being repeated stops the repetition", async () => {
  await using stage = await startStage();
  stage.sandbox.inject({ provider: "shortapi", phase: "create", fault: "rate-limited" });
  const clock = new TestClock({ auto: false });
  const controller = new AbortController();
  const events: ImageEvent[] = [];
  const call = reasonOf(
    stage
      .client("shortapi", {}, clock)
      .generate({ prompt }, { signal: controller.signal, onEvent: (event) => events.push(event) }),
  );
  await until(() => events.some((event) => event.type === "retry"));
  controller.abort("enough");
  expect(await call).toBe("enough");
  await clock.advance(3_600_000);
  await aMoment();
  expect(stage.count("create")).toBe(1);
});

test("an abort during a create that answers with the images tears it, and it is not sent again", async () => {
  let torn = false;
  await using server = await startServer((_, response) => {
    response.on("close", () => {
      torn = true;
    });
  });
  const provider = providerOf("openaiCompatible", { baseURL: server.url, apiKey: "a-key" });
  const controller = new AbortController();
  const reason = { mine: true };
  const events: ImageEvent[] = [];
  const call = reasonOf(
    new ProviderClient({ provider }, systemClock).generate(
      { prompt },
      { signal: controller.signal, onEvent: (event) => events.push(event) },
    ),
  );
  await until(() => server.requests.length === 1);
  controller.abort(reason);
  expect(await call).toBe(reason);
  await until(() => torn);
  await aMoment();
  expect(server.requests).toHaveLength(1);
  await until(() => events.some((event) => event.type === "failed"));
  const failed = events.find((event) => event.type === "failed");
  expect(failed).toMatchObject({ error: { name: "SubmissionUnknownError", charged: "unknown" } });
});

// ---- onSubmitted ----

test.for(jobProviders)(
  "onSubmitted of %s is awaited once it has accepted, before the first poll",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    let polledBefore = -1;
    const references: JobReference[] = [];
    await stage.client(name).generate(
      { prompt },
      {
        async onSubmitted(job) {
          references.push(JSON.parse(JSON.stringify(job)));
          await aMoment();
          polledBefore = stage.count("poll");
        },
      },
    );
    expect(polledBefore).toBe(0);
    expect(references).toMatchObject([
      {
        v: 1,
        operation: "generate",
        tasks: [{ id: stage.sandbox.jobs[0]?.jobId, state: "queued" }],
      },
    ]);
    expect(JSON.stringify(references)).not.toContain(stage.sandbox[name].apiKey);
    expect(JSON.stringify(references)).not.toContain(prompt);
  },
);

test.for(jobProviders)(
  "an onSubmitted that throws is a CallbackError with the job of %s, which still gives the image",
  async (name) => {
    await using stage = await startStage();
    const cause = new Error("the database is down");
    const onSubmitted = () => Promise.reject(cause);
    const error = await failureOf(stage.client(name).generate({ prompt }, { onSubmitted }));
    expect(error).toMatchObject({
      ...{ name: "CallbackError", callback: "onSubmitted", charged: "unknown", cause },
    });
    await aMoment();
    expect(stage.count("poll")).toBe(0);
    expect((await error.job?.result())?.images).toHaveLength(1);
    expect(stage.count("create")).toBe(1);
  },
);

test("an onSubmitted that throws after images were made says that they were charged, and has them", async () => {
  await using stage = await startStage();
  const onSubmitted = () => {
    throw new Error("no");
  };
  const client = stage.client("openaiCompatible");
  const error = await failureOf(client.generate({ prompt }, { onSubmitted }));
  expect(error).toMatchObject({ name: "CallbackError", charged: "yes" });
  expect((await error.job?.result())?.images).toHaveLength(1);
  expect(stage.count("create")).toBe(1);
});

test("an onSubmitted that throws tears no picture of the same call that is on its way", async () => {
  const held: ServerResponse[] = [];
  const send = (response: ServerResponse) =>
    sendJson(response, { data: [{ b64_json: pixel.toString("base64") }] });
  await using server = await startServer((_, response) => {
    held.push(response);
    if (held.length === 3) send(response);
  });
  const provider = openaiCompatible({ baseURL: server.url, apiKey: "sk-of-the-test" });
  const onSubmitted = () => Promise.reject(new Error("the database is down"));
  const request = { prompt, n: 3, stream: true };
  const error = await failureOf(createImageClient({ provider }).generate(request, { onSubmitted }));
  expect(error).toMatchObject({ callback: "onSubmitted", charged: "yes" });
  for (const response of held.slice(0, 2)) send(response);
  const { images, failures } = (await error.job?.result()) ?? {};
  expect([images?.length, failures]).toEqual([3, []]);
  expect(server.requests).toHaveLength(3);
});

test("an onSubmitted of a split request is told of each task, and knows more each time", async () => {
  await using stage = await startStage();
  const known: number[] = [];
  const ids = new Set<string>();
  await stage.client("shortapi", { concurrency: 1 }).generate(
    { prompt, n: 3 },
    {
      onSubmitted(job) {
        ids.add(job.id);
        known.push(job.reference.tasks.filter((task) => task.id !== undefined).length);
      },
    },
  );
  expect(known).toEqual([1, 2, 3]);
  expect(ids.size).toBe(1);
});
