import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  type ImageClient,
  type ImageEvent,
  ModerationError,
  RateLimitError,
} from "../../src/index";
import { fakeImageClient } from "../../src/testing/index";
import { jpegHead, onePixelPng } from "../providers/fixtures";

test("without options it gives a small PNG, and nothing is said of cost", async () => {
  const client: ImageClient = fakeImageClient();
  const result = await client.generate({ prompt: "x" });
  expect(await result.image.info()).toMatchObject({
    mediaType: "image/png",
    width: 64,
    height: 64,
  });
  expect(result.provider).toBe("fake");
  expect(result.cost).toBeUndefined();
  expect(client.estimate({ prompt: "x" })).toBeUndefined();
  expect(result.warnings).toEqual([]);
});

test("it gives the pictures that it was handed, one after another and from the first again", async () => {
  const client = fakeImageClient({ images: [onePixelPng, jpegHead] });
  const { images } = await client.generate({ prompt: "x", n: 3 });
  const bytes = await Promise.all(images.map((image) => image.bytes()));
  expect(bytes.map((each) => Buffer.from(each).equals(onePixelPng))).toEqual([true, false, true]);
  const next = await client.generate({ prompt: "x" });
  expect(Buffer.from(await next.image.bytes()).equals(jpegHead)).toBe(true);
});

test("each image costs what it was told, before and after", async () => {
  const cost = { amount: 0.06, unit: "USD", basis: "reported" } as const;
  const client = fakeImageClient({ cost });
  expect(client.estimate({ prompt: "x", n: 12 })).toMatchObject({ amount: 0.72, basis: "list" });
  const result = await client.generate({ prompt: "x", n: 12 });
  expect(result.images).toHaveLength(12);
  expect(result.cost).toEqual({ ...cost, amount: 0.72 });
});

test("it remembers every call, in order", async () => {
  const client = fakeImageClient();
  const options = { metadata: { order: 7 } };
  await client.generate({ prompt: "a" }, options);
  await client.edit({ prompt: "b", images: [onePixelPng] });
  await client.submit({ prompt: "c" });
  await client.submit({ prompt: "d", images: ["https://a.test/1.png"] });
  expect(client.calls).toEqual([
    { operation: "generate", request: { prompt: "a" }, options },
    { operation: "edit", request: { prompt: "b", images: [onePixelPng] }, options: undefined },
    { operation: "generate", request: { prompt: "c" }, options: undefined },
    expect.objectContaining({ operation: "edit" }),
  ]);
});

test("the error that it was given is thrown by everything that sends", async () => {
  const error = new ModerationError({ charged: "no" });
  const client = fakeImageClient({ error });
  await expect(client.generate({ prompt: "x" })).rejects.toBe(error);
  await expect(client.edit({ prompt: "x", images: [onePixelPng] })).rejects.toBe(error);
  await expect(client.submit({ prompt: "x" })).rejects.toBe(error);
  expect(client.calls).toHaveLength(3);
});

test("an error may depend on the request", async () => {
  const client = fakeImageClient({
    error: ({ prompt }) =>
      prompt === "busy" ? new RateLimitError({ charged: "no", retryAfterMs: 5 }) : undefined,
  });
  await expect(client.generate({ prompt: "busy" })).rejects.toMatchObject({ code: "rate_limited" });
  await expect(client.generate({ prompt: "calm" })).resolves.toHaveProperty("image");
});

test("requests are checked as everywhere", async () => {
  const client = fakeImageClient();
  expect(client.check({ prompt: "", n: 0 })).toHaveLength(2);
  await expect(client.generate({ prompt: "x", size: "wide" })).rejects.toMatchObject({
    code: "invalid_request",
    field: "size",
  });
  expect(client.check({ prompt: "x", aspectRatio: "16:9", resolution: "4K" })).toEqual([]);
});

test("jobs, events and saveTo work as they do against a real provider", async () => {
  const directory = await mkdtemp(join(tmpdir(), "fake-"));
  const events: ImageEvent[] = [];
  const client = fakeImageClient({ images: [onePixelPng], delayMs: 1_000 });
  const { image, job } = await client.generate(
    { prompt: "x" },
    { saveTo: directory, onEvent: (event) => events.push(event), metadata: 7 },
  );
  expect(image.file).toBe(join(directory, `${job.id}-0-0.png`));
  expect(await readdir(directory)).toEqual([`${job.id}-0-0.png`]);
  expect((await readFile(image.file ?? "")).equals(onePixelPng)).toBe(true);
  const types = events.map(({ type }) => type);
  expect(types.slice(0, 2)).toEqual(["submitting", "submitted"]);
  expect(types).toContain("status");
  expect(types.slice(-2)).toEqual(["succeeded", "saved"]);
  expect(events.every(({ metadata }) => metadata === 7)).toBe(true);
  await rm(directory, { recursive: true });
});

test("a job is resumed from its reference, also by another fake", async () => {
  const client = fakeImageClient({ images: [onePixelPng] });
  const job = await client.submit({ prompt: "x" });
  const reference = JSON.stringify(job);
  await expect(client.resume(reference).result()).resolves.toHaveProperty("image");
  await expect(fakeImageClient().resume(reference).status()).resolves.toMatchObject({
    state: "succeeded",
    settled: true,
  });
  const stranger = fakeImageClient({ name: "other" });
  expect(() => stranger.resume(reference)).toThrow(/reference\.provider/);
});

test("its name is the provider's everywhere", async () => {
  const client = fakeImageClient({ name: "acme" });
  expect(client.name).toBe("acme");
  expect((await client.generate({ prompt: "x" })).provider).toBe("acme");
  expect(client.capabilities).toMatchObject({
    resumable: true,
    edit: { inputs: { maxCount: 16 } },
  });
});

test("after close nothing more is made", async () => {
  const client = fakeImageClient({ delayMs: 60_000 });
  const waiting = client.generate({ prompt: "x" });
  await new Promise((resolve) => setImmediate(resolve));
  await client.close();
  await expect(waiting).rejects.toMatchObject({ code: "client_closed" });
  await expect(client.generate({ prompt: "x" })).rejects.toMatchObject({ code: "client_closed" });
  const disposed = fakeImageClient();
  await disposed[Symbol.asyncDispose]();
  await expect(disposed.generate({ prompt: "x" })).rejects.toMatchObject({ code: "client_closed" });
});

test("it shows its picture as each partial image that was asked for, and one picture a task", async () => {
  const client = fakeImageClient({ images: [onePixelPng], delayMs: 20 });
  const events: ImageEvent[] = [];
  const onEvent = (event: ImageEvent) => events.push(event);
  const { images } = await client.generate({ prompt: "x", n: 2, partialImages: 2 }, { onEvent });
  expect(images).toHaveLength(2);
  const partials = events.filter((event) => event.type === "partial");
  expect(partials.map(({ task, index }) => `${task}:${index}`).sort()).toEqual([
    ...["0:0", "0:1", "1:0", "1:1"],
  ]);
  for (const { bytes } of partials) expect(Buffer.from(bytes).equals(onePixelPng)).toBe(true);
  await client.generate({ prompt: "x", stream: true }, { onEvent });
  expect(events.filter(({ type }) => type === "partial")).toHaveLength(4);
});
