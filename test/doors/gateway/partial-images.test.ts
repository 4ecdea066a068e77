import {
  createImageClient,
  type GenerateRequest,
  type ImageEvent,
  SubmissionUnknownError,
  trinetra,
} from "gpt-image-client";
import { fakeImageClient } from "gpt-image-client/testing";
import { describe, expect, test } from "vitest";
import { Gateway } from "../../../src/doors/gateway/gateway";
import { PartialImageQueue } from "../../../src/doors/gateway/partial-images";
import { settled, TestClock } from "./clock";
import { authorize, GatewayStage, isPng, openaiMajors } from "./stage";

const asked = { model: "gpt-image-2", prompt: "A web", size: "1024x1024" } as const;
const file = new File([await pngOf(64)], "a.png", { type: "image/png" });

async function pngOf(width: number): Promise<Uint8Array<ArrayBuffer>> {
  const { image } = await fakeImageClient().generate({ prompt: `${width}` });
  return new Uint8Array(await image.bytes());
}

describe.each(openaiMajors)("partial images with $name", (major) => {
  test("come as they are drawn, and then the picture, of one purchase", async () => {
    await using stage = await GatewayStage.open({ sandbox: { jobDurationMs: 60 } });
    const stream = await stage.openai(major).images.generate({
      ...{ ...asked, quality: "low", stream: true, partial_images: 2 },
    });
    const events = [];
    for await (const event of stream) events.push(event);
    expect(events.map(({ type }) => type)).toEqual([
      ...["image_generation.partial_image", "image_generation.partial_image"],
      "image_generation.completed",
    ]);
    expect(events.every((event) => isPng(event.b64_json))).toBe(true);
    expect(events.slice(0, 2)).toMatchObject(
      [0, 1].map((index) => ({
        ...{ partial_image_index: index, size: "1024x1024", quality: "low", output_format: "png" },
        created_at: expect.any(Number),
      })),
    );
    expect(new Set(events.map((event) => event.b64_json)).size).toBe(3);
    expect(stage.sandbox.charges).toHaveLength(1);
    expect(stage.creates).toBe(1);
  });

  test("of an edit have its types", async () => {
    await using stage = await GatewayStage.open({ sandbox: { jobDurationMs: 60 } });
    const stream = await stage.openai(major).images.edit({
      ...{ ...asked, image: file, stream: true, partial_images: 1 },
    });
    const types = [];
    for await (const { type } of stream) types.push(type);
    expect(types).toEqual(["image_edit.partial_image", "image_edit.completed"]);
    expect(stage.sandbox.charges).toHaveLength(1);
  });

  test("of a stream that breaks are followed by an error, and nothing is bought again", async () => {
    await using stage = await GatewayStage.open({ sandbox: { jobDurationMs: 60 } });
    const fault = { fault: "stream-broken", afterPartials: 1 } as const;
    stage.sandbox.inject({ provider: "openaiCompatible", phase: "create", ...fault });
    const stream = await stage.openai(major).images.generate({
      ...{ ...asked, stream: true, partial_images: 2 },
    });
    const types: string[] = [];
    const reading = (async () => {
      for await (const { type } of stream) types.push(type);
    })();
    await expect(reading).rejects.toMatchObject({ error: { charged: "unknown" } });
    expect(types).toEqual(["image_generation.partial_image"]);
    expect(stage.creates).toBe(1);
  });
});

test("without a stream, or at a provider that cannot stream, no partial image is asked, or paid", async () => {
  await using stage = await GatewayStage.open();
  const plain = await stage.post("/images/generations", { prompt: "A web", partial_images: 3 });
  expect(plain.status).toBe(200);
  expect(JSON.stringify(stage.sandbox.requests)).not.toContain("partial_images");
  const jobs = createImageClient({ provider: trinetra(stage.sandbox.trinetra), poll: 5 });
  await using other = await GatewayStage.open({ gateway: { models: { jobs } } });
  const stream = await other.post("/images/generations", {
    ...{ prompt: "A web", stream: true, partial_images: 3 },
  });
  expect(stream.status).toBe(200);
  const text = await stream.text();
  expect(text.match(/^event: .*$/gm)).toEqual(["event: image_generation.completed"]);
});

/** A gateway whose client draws when the test says so. */
function heldGateway() {
  const clock = new TestClock();
  const fake = fakeImageClient();
  const calls: {
    request: GenerateRequest;
    show: (index: number, byteLength: number) => void;
    end: (error?: Error) => void;
  }[] = [];
  const client: typeof fake = {
    ...fake,
    capabilities: {
      ...fake.capabilities,
      generate: { ...fake.capabilities.generate, fields: ["partialImages"] },
    },
    generate: (request, options) =>
      new Promise((resolve, reject) => {
        const show = (index: number, byteLength: number) => {
          const image = { index, bytes: Buffer.alloc(byteLength, index), mediaType: "image/webp" };
          const about = { provider: "fake", jobId: "a", task: 0, at: 7_500 };
          const event: ImageEvent = { ...about, type: "partial", ...image };
          options?.onEvent?.(event);
        };
        const end = (error?: Error) =>
          error === undefined ? resolve(fake.generate({ prompt: "A web" })) : reject(error);
        calls.push({ request, show, end });
      }),
  };
  const gateway = new Gateway({ models: { m: client }, authorize }, clock);
  const ask = (signal?: AbortSignal, headers = {}) =>
    gateway.fetch(
      new Request("http://gateway/v1/images/generations", {
        method: "POST",
        headers: {
          ...{ authorization: "Bearer key-of-anna", "content-type": "application/json" },
          ...headers,
        },
        body: JSON.stringify({ prompt: "A web", stream: true, partial_images: 3 }),
        ...(signal !== undefined && { signal }),
      }),
    );
  const call = async (index: number) => {
    while (calls[index] === undefined) await settled();
    return calls[index];
  };
  return { clock, ask, call, calls };
}

test("the head leaves with the first partial image, and comments go on between", async () => {
  const { clock, ask, call } = heldGateway();
  const response = ask();
  const { show, end, request } = await call(0);
  expect(request.partialImages).toBe(3);
  show(0, 3);
  const reader = (await response).body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const reading = (async () => {
    for (;;) {
      const { value = "", done = true } = (await reader?.read()) ?? {};
      text += value;
      if (done) return;
    }
  })();
  await settled();
  const first = "event: image_generation.partial_image\n";
  expect(text.startsWith(first)).toBe(true);
  expect(JSON.parse(text.slice(first.length + 6))).toEqual({
    ...{ type: "image_generation.partial_image", b64_json: "AAAA", created_at: 7 },
    ...{ output_format: "webp", partial_image_index: 0 },
  });
  await clock.pass(20_000);
  show(1, 3);
  await settled();
  end();
  await reading;
  expect(text.match(/^(: keep-alive|event: .*)$/gm)).toEqual([
    ...[first.trim(), ": keep-alive", ": keep-alive", first.trim()],
    "event: image_generation.completed",
  ]);
});

test("what a failed order has shown is followed by its error", async () => {
  const { ask, call } = heldGateway();
  const response = ask();
  const { show, end } = await call(0);
  show(0, 3);
  await settled();
  end(new SubmissionUnknownError({ charged: "unknown" }));
  expect(await (await response).text()).toMatch(
    /partial_image_index":0}\n\nevent: error\ndata: .*"charged":"unknown"/,
  );
});

test("who comes for an order that its caller has left is shown what is drawn from then on", async () => {
  const { ask, call, calls } = heldGateway();
  const leaving = new AbortController();
  void ask(leaving.signal);
  const { show, end } = await call(0);
  show(0, 3);
  leaving.abort();
  await settled();
  show(1, 3);
  const heir = ask();
  await settled();
  show(2, 3);
  await settled();
  end();
  const text = await (await heir).text();
  expect(text.match(/"partial_image_index":\d/g)).toEqual(['"partial_image_index":2']);
  expect(text).toContain("image_generation.completed");
  expect(calls).toHaveLength(1);
});

test("for a reader who is slow no more than 8 MiB of them wait, and the last in any case", () => {
  const mebibyte = 1024 * 1024;
  const queue = new PartialImageQueue();
  const told = (index: number) => ({ partial_image_index: index });
  for (let index = 0; index < 9; index += 1) {
    queue.push({ bytes: Buffer.alloc(3 * mebibyte), told: told(index) });
  }
  expect([queue.shift()?.told, queue.shift()?.told, queue.isEmpty]).toEqual([
    told(7),
    told(8),
    true,
  ]);
  queue.push({ bytes: Buffer.alloc(20 * mebibyte), told: told(9) });
  expect(queue.shift()?.told).toEqual(told(9));
  expect(queue.shift()).toBeUndefined();
});
