import { beforeEach, expect, test } from "vitest";
import { addImageJob, imageJobId } from "../../../src/doors/bullmq/index";
import { prompt } from "../../support/stage";
import { ModelQueue } from "./model-queue";

let queue: ModelQueue;
beforeEach(() => {
  queue = new ModelQueue();
});

test.each([
  ["order-4711", "order-4711"],
  ["completed", "image-Y29tcGxldGVk"],
  ["4711", "image-NDcxMQ"],
  ["-1", "image-LTE"],
  ["order:4711", "image-b3JkZXI6NDcxMQ"],
  ["0:1", "image-MDox"],
  ["image-NDcxMQ", "image-aW1hZ2UtTkRjeE1R"],
  ["größe 1", "image-Z3LDtsOfZSAx"],
])("the order number %s is %s in the queue", (given, id) => {
  expect(imageJobId(given)).toBe(id);
});

test("long and broken order numbers have ids of their own", () => {
  const odd = ["x".repeat(300), "x".repeat(301), "\ud800", "\ud801", ""];
  const ids = odd.map(imageJobId);
  expect(new Set(ids).size).toBe(odd.length);
  for (const id of ids) expect(id).toMatch(/^image-[\w-]*$/);
});

test("an order that is added again is the same job, and another one under its number is refused", async () => {
  const first = await addImageJob(queue, { prompt }, { jobId: "order-1" });
  const again = await addImageJob(queue, { prompt }, { jobId: "order-1" });
  expect(again).toBe(first);
  await expect(addImageJob(queue, { prompt: "else" }, { jobId: "order-1" })).rejects.toMatchObject({
    ...{ code: "invalid_request", field: "options.jobId", charged: "no" },
  });
});

test("what a queue cannot keep is refused before anything is added", async () => {
  const images = [new Uint8Array([1, 2, 3])];
  await expect(addImageJob(queue, { prompt, images })).rejects.toMatchObject({
    ...{ code: "invalid_request", field: "request.images[0]" },
  });
  const url = new URL("https://example.com/a.png");
  const job = await addImageJob(queue, { prompt, images: [url] });
  expect(job.data).toEqual({ request: { prompt, images: [url.href] } });
});
