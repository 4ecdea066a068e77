import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createImageClient, type ImageEvent, trinetra } from "../../src/index";
import { allProviders, prompt, startStage } from "../support/stage";

const metadata = { order: "order-secret-7" };

test.for(allProviders)(
  "the JSON of each event of %s has no reference, path, metadata or bytes, and the event has them",
  async (name) => {
    const directory = await mkdtemp(join(tmpdir(), "events-"));
    try {
      await using stage = await startStage({ jobDurationMs: 20 });
      const { sandbox } = stage;
      const events: ImageEvent[] = [];
      const client = stage.client(name, { poll: 5 });
      const call = {
        saveTo: directory,
        metadata,
        onEvent: (event: ImageEvent) => events.push(event),
      };
      const { job, image } = await client.generate({ prompt }, call);
      sandbox.inject({ provider: name, phase: "create", fault: "refusal", status: 400 });
      await client.generate({ prompt }, call).catch(() => {});
      sandbox.inject({ provider: name, phase: "create", fault: "failure" });
      await client.generate({ prompt }, call).catch(() => {});
      const types = new Set(events.map(({ type }) => type));
      for (const type of ["submitting", "succeeded", "saved", "failed"])
        expect(types).toContain(type);
      const taskIds = sandbox.jobs.map(({ jobId }) => jobId);
      for (const event of events) {
        const text = JSON.stringify(event);
        expect(JSON.parse(text)).toMatchObject({
          type: event.type,
          jobId: event.jobId,
          at: event.at,
        });
        expect(text).not.toMatch(/order-secret|"reference"|"tasks"|"baseURL"|"metadata"/);
        expect(text).not.toContain(directory);
        expect(text.length).toBeLessThan(1_000);
        if (event.type !== "failed") for (const id of taskIds) expect(text).not.toContain(id);
        expect(event.metadata).toBe(metadata);
      }
      const saved = events.find((event) => event.type === "saved");
      expect(saved?.type === "saved" && saved.file).toBe(image.file);
      expect(JSON.parse(JSON.stringify(saved)).file).toBe(`${job.id}-0-0.png`);
      const failed = events.find((event) => event.type === "failed");
      expect(JSON.parse(JSON.stringify(failed)).error).toMatchObject({ charged: "no" });
      expect(failed?.type === "failed" && failed.error.job?.reference.tasks).toHaveLength(1);
    } finally {
      await rm(directory, { recursive: true });
    }
  },
);

test("an error of the disk keeps the file's name alone in an event's JSON, and its path in the event", async () => {
  const directory = await mkdtemp(join(tmpdir(), "events-"));
  try {
    await using stage = await startStage({ jobDurationMs: 0 });
    const place = join(directory, "private", "taken");
    const events: ImageEvent[] = [];
    const cause = Object.assign(new Error(`ENOSPC: no space left on device, write '${place}'`), {
      ...{ code: "ENOSPC", path: place },
    });
    const journal = {
      create: async () => {
        throw cause;
      },
      ...{ update: async () => {}, read: async () => undefined, delete: async () => {} },
      ...{ writeImage: async () => {}, readImage: async () => undefined },
      async *list() {},
    };
    const client = stage.client("trinetra", { journal });
    const call = { onEvent: (event: ImageEvent) => events.push(event) };
    const error = await client.generate({ prompt }, call).catch((reason: unknown) => reason);
    expect(Object(error).message).toContain(place);
    const failed = events.find(({ type }) => type === "failed");
    expect(JSON.stringify(failed)).toContain("write 'taken'");
    expect(JSON.stringify(failed)).not.toContain("private");
    expect(JSON.stringify(Object(failed).error)).toContain("private");
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("events of a resumed job are as safe as those of a call", async () => {
  await using stage = await startStage({ jobDurationMs: 20 });
  const submitted = await stage.client("shortapi").submit({ prompt });
  const seen: string[] = [];
  for await (const event of stage.client("shortapi", { poll: 5 }).resume(submitted).events()) {
    seen.push(JSON.stringify(event));
  }
  expect(seen.at(-1)).toContain('"type":"succeeded"');
  expect(seen.join()).not.toContain(submitted.reference.tasks[0]?.id ?? "no id");
});

test("an event is a plain object in all other respects", async () => {
  const events: ImageEvent[] = [];
  const client = createImageClient({
    provider: trinetra({ apiKey: "key-0123456789" }),
    fetch: async () => Response.json({ error: { message: "no" } }, { status: 400 }),
    onEvent: (event) => events.push(event),
  });
  await client.generate({ prompt: "x" }).catch(() => {});
  const [first] = events;
  expect(Object.keys(first ?? {})).toEqual(["provider", "jobId", "task", "at", "type"]);
  expect(structuredClone(first)).toEqual(first);
});
