import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createImageClient, trinetra } from "../../src/index";
import { directory, useDirectory } from "../support/directory";
import { pictureOf } from "../support/media";
import { pixel, sendJson, startServer } from "../support/server";
import { failureOf, prompt } from "../support/stage";
import {
  apiKey,
  bytesOf,
  clientOf,
  documentOf,
  jobProviders,
  mark,
  names,
  partial,
  sendIn,
  startJobs,
  startStream,
} from "./support/odd-responses";

useDirectory();

test.each(names)(
  "a numeric id of any size is asked for at %s digit by digit, behind byte order marks",
  async (name) => {
    await using stage = await startJobs(name);
    const id = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n });
    await fc.assert(
      fc.asyncProperty(id, async (each) => {
        stage.state.id = String(each);
        stage.state.asked.length = 0;
        const { image, job } = await stage.client.generate({ prompt });
        expect(stage.state.asked).toEqual([String(each)]);
        expect(job.reference.tasks[0]?.id).toBe(String(each));
        expect(Buffer.from(await image.bytes()).equals(pixel)).toBe(true);
      }),
      { numRuns: 15, examples: [[2n ** 53n], [1876543210987654321n]] },
    );
  },
);

test("a webhook names its job digit by digit, behind a byte order mark", async () => {
  const id = "1876543210987654321";
  let isDone = false;
  await using server = await startServer(({ method, path }, response) => {
    if (path === "/i.png") return response.end(pixel);
    if (method === "POST") return response.end(`{"job_id":${id}}`);
    isDone = true;
    return response.end(jobProviders.trinetra.done("/i.png"));
  });
  await using client = createImageClient({
    provider: trinetra({ baseURL: server.url, apiKey }),
    poll: 60_000,
    webhooks: { secret: "a-secret-of-32-characters-or-so!" },
  });
  const job = await client.submit({ prompt });
  const result = job.result();
  // The first is what a double would make of the id: that is nobody's job here.
  for (const body of [`{"id":1876543210987654400}`, `${mark}{"id":${id},"status":"succeeded"}`]) {
    expect(isDone).toBe(false);
    await client.webhooks.handle(new Request("http://hook.test/", { method: "POST", body }));
  }
  const { image } = await result;
  expect(Buffer.from(await image.bytes()).equals(pixel)).toBe(true);
});

test.each(names)(
  "an id at %s that is not certain is no id, and nothing is asked for",
  async (name) => {
    await using stage = await startJobs(name);
    for (const id of ["0", "1.5", "1e300", "-7", "null", '""', '".."', '"."', '"\\ud800"', "[1]"]) {
      stage.state.id = id;
      const error = await failureOf(stage.client.generate({ prompt }));
      expect([id, error]).toMatchObject([id, { code: "malformed_response", charged: "unknown" }]);
    }
    expect(stage.state.asked).toEqual([]);
  },
);

test.each(names)(
  "a relative URL of %s belongs to the provider's own, and its key stays here",
  async (name) => {
    for (const imageURL of ["/image/1.png", "image/1.png", "./image/1.png?a=b"]) {
      await using stage = await startJobs(name, { imageURL });
      const { image } = await stage.client.generate({ prompt });
      expect(image.url).toBe(new URL(imageURL, `${stage.server.url}/`).href);
      expect(Buffer.from(await image.bytes()).equals(pixel)).toBe(true);
      const { headers } = stage.server.requests.at(-1) ?? {};
      expect(JSON.stringify(headers)).not.toContain(apiKey);
    }
  },
);

test("a URL is resolved against the base URL: below its path, at its root, or at another host", async () => {
  let url = "";
  await using server = await startServer(({ method }, response) =>
    method === "POST" ? sendJson(response, { data: [{ url }] }) : response.end(pixel),
  );
  const { port } = server;
  const cases = {
    "files/1.png": `${server.url}/v1/files/1.png`,
    "/api/v1/files/1": `${server.url}/api/v1/files/1`,
    [`//127.0.0.1:${port}/1`]: `${server.url}/1`,
    [`HTTP://127.0.0.1:${port}/1`]: `HTTP://127.0.0.1:${port}/1`,
  };
  for (const [given, expected] of Object.entries(cases)) {
    url = given;
    const { image } = await clientOf(server).generate({ prompt });
    expect(image.url).toBe(expected);
    expect(Buffer.from(await image.bytes()).equals(pixel)).toBe(true);
  }
  const before = server.requests.length;
  for (const given of [
    "//169.254.169.254/latest",
    "//[::1]/1",
    "//localhost./1",
    "file:///etc/passwd",
  ]) {
    url = given;
    const { image } = await clientOf(server).generate({ prompt });
    expect(await failureOf(image.bytes())).toMatchObject({
      code: "download_failed",
      charged: "yes",
    });
  }
  // The creates alone.
  expect(server.requests).toHaveLength(before + 4);
});

test("a byte order mark before a response is no part of it, small or decoded in pieces", async () => {
  for (const byteLength of [500, 300_000]) {
    const picture = pictureOf(byteLength);
    await using server = await startServer((_, response) => {
      const bytes = Buffer.from(`${mark}\n ${documentOf(picture)}`);
      sendIn(response, [bytes.subarray(0, 2), bytes.subarray(2)]);
    });
    const { image } = await clientOf(server).generate({ prompt });
    expect(Buffer.from(await image.bytes()).equals(picture)).toBe(true);
  }
});

test("an image in a response of any shape and size is on the error", async () => {
  let body = "";
  let status = 200;
  await using server = await startServer((_, response) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(body);
  });
  const picture = fc.oneof(
    fc.constant(pixel),
    fc.nat(120_000).map((length) => pictureOf(length + 30)),
  );
  const text = (bytes: Buffer) =>
    fc.constantFrom(bytes.toString("base64"), `data:image/png;base64,${bytes.toString("base64")}`);
  const wrapped = (value: string) =>
    fc.constantFrom<unknown>(
      ...[value, [[value]], { result: { picture: value } }, { output: [{ n: 1, bytes: value }] }],
      ...[{ images: [{ a: "x".repeat(70_000), image: value }], id: 1876543210987654321n }],
    );
  const reply = fc.tuple(picture, fc.constantFrom(200, 202, 500)).chain(([bytes, code]) =>
    text(bytes)
      .chain(wrapped)
      .map((shape) => ({ bytes, code, shape })),
  );
  const ending = fc.constantFrom("", " ", "]", '{"', "\n{}");
  await fc.assert(
    fc.asyncProperty(reply, ending, async ({ bytes, code, shape }, rest) => {
      status = code;
      body =
        JSON.stringify(shape, (_, each: unknown) =>
          typeof each === "bigint" ? "a large number" : each,
        ).replace('"a large number"', "1876543210987654321") + rest;
      const error = await failureOf(clientOf(server).generate({ prompt }));
      expect(error).toMatchObject({ code: "malformed_response", charged: "yes" });
      const [first, ...others] = await bytesOf(error.images);
      expect(first?.equals(bytes)).toBe(true);
      expect(others).toEqual([]);
    }),
    { numRuns: 60 },
  );
});

test("a response that is an image itself is on the error, and saved", async () => {
  for (const picture of [pixel, pictureOf(300_000)]) {
    await using server = await startServer((_, response) => {
      response.writeHead(200, { "content-type": "image/png" });
      response.end(picture);
    });
    const place = await mkdtemp(join(directory, "place-"));
    const error = await failureOf(clientOf(server).generate({ prompt }, { saveTo: place }));
    expect(error).toMatchObject({ code: "malformed_response", charged: "yes" });
    expect(error.raw).toBe(`<an image of ${picture.length} bytes>`);
    expect(await readdir(place)).toHaveLength(1);
    expect((await readFile(error.images?.[0]?.file ?? "")).equals(picture)).toBe(true);
  }
});

test("an image that the request held is not one that was paid for", async () => {
  for (const picture of [pixel, pictureOf(200_000)]) {
    await using server = await startServer(({ body }, response) =>
      sendJson(response, { detail: [{ msg: "field required", input: JSON.parse(body) }] }, 422),
    );
    const extraBody = { image: `data:image/png;base64,${picture.toString("base64")}` };
    const call = clientOf(server).generate({ prompt, providerOptions: { openai: { extraBody } } });
    const error = await failureOf(call);
    expect(error).toMatchObject({ code: "invalid_request", charged: "no" });
    expect(error.images).toBeUndefined();
  }
});

test("a job that failed hands over the images that its last response holds", async () => {
  await using server = await startServer(({ method }, response) =>
    method === "POST"
      ? sendJson(response, { job_id: "j-1" }, 202)
      : sendJson(response, {
          status: "succeeded",
          output: { picture: pixel.toString("base64") },
        }),
  );
  const client = createImageClient({
    provider: trinetra({ baseURL: server.url, apiKey }),
    poll: 1,
  });
  const error = await failureOf(client.generate({ prompt }));
  expect(error).toMatchObject({ code: "malformed_response", charged: "yes" });
  expect(await bytesOf(error.images)).toEqual([pixel]);
});

test("the logo in a page of an error is no image, small or large, under any status", async () => {
  const logo = `<img src="data:image/png;base64,${pixel.toString("base64")}">`;
  const large = `<img src="data:image/png;base64,${pictureOf(200_000).toString("base64")}">`;
  const heads = [
    "<!DOCTYPE html><html>",
    "\ufeff\n<html lang=en>",
    "<!-- cdn --><html>",
    "<?xml?>",
  ];
  let page = "";
  let status = 502;
  await using server = await startServer((_, response) => {
    response.writeHead(status, { "content-type": "text/html" });
    response.end(page);
  });
  for (const head of heads) {
    for (const picture of [logo, large]) {
      page = `${head}<body>${picture}</body></html>`;
      status = 502;
      const lost = await failureOf(clientOf(server).generate({ prompt }));
      expect(lost).toMatchObject({ code: "submission_unknown", charged: "unknown" });
      expect(lost.images).toBeUndefined();
      status = 401;
      const refused = await failureOf(clientOf(server).generate({ prompt }));
      expect(refused).toMatchObject({ code: "authentication", charged: "no" });
      expect(refused.images).toBeUndefined();
    }
  }
});

test("a warning of PHP's before the response does not hide the image behind it", async () => {
  for (const picture of [pixel, pictureOf(200_000)]) {
    await using server = await startServer((_, response) =>
      response.end(`<br />\n<b>Warning</b>: no "cache" in line 3<br />\n${documentOf(picture)}`),
    );
    const error = await failureOf(clientOf(server).generate({ prompt }));
    expect(error).toMatchObject({ code: "malformed_response", charged: "yes" });
    expect((await bytesOf(error.images)).map((each) => each.equals(picture))).toEqual([true]);
  }
});

test("a refusal with an image in it keeps its reason, and is no proof that nothing was paid", async () => {
  const preview = pixel.toString("base64");
  const cases = {
    400: { code: "moderation", error: { code: "moderation_blocked", message: "no", preview } },
    401: { code: "authentication", error: { message: "no", preview } },
    429: { code: "rate_limited", error: { message: "slower", preview } },
  } as const;
  for (const [status, { code, error: told }] of Object.entries(cases)) {
    await using server = await startServer((_, response) =>
      sendJson(response, { error: told }, Number(status)),
    );
    const error = await failureOf(clientOf(server).generate({ prompt }));
    expect(error).toMatchObject({ code, charged: "unknown" });
    expect(await bytesOf(error.images)).toEqual([pixel]);
    expect(server.requests).toHaveLength(1);
  }
});

test("a response of a million small values is looked through, and told of", async () => {
  await using server = await startServer((_, response) =>
    response.end(JSON.stringify({ list: Array(900_000).fill(1) })),
  );
  const error = await failureOf(clientOf(server).generate({ prompt }));
  expect(error).toMatchObject({ code: "malformed_response", charged: "unknown" });
});

test("a stream of empty lines is refused before it keeps anybody busy", async () => {
  const lines = "data:\n".repeat(400_000);
  await using server = await startStream(lines);
  const started = process.cpuUsage();
  const error = await failureOf(clientOf(server).generate({ prompt }));
  const { user } = process.cpuUsage(started);
  expect(error).toMatchObject({ charged: "unknown" });
  expect(error.message).toContain("for each short line");
  expect(user / 1_000).toBeLessThan(10_000);
  expect(server.requests).toHaveLength(1);
});

test("an error in a stream is a refusal where it is documented and nothing was shown before it", async () => {
  const charges = {
    insufficient_quota: "no",
    rate_limit_exceeded: "no",
    // Nobody says at which stage.
    moderation_blocked: "unknown",
    server_error: "unknown",
  };
  for (const [code, charged] of Object.entries(charges)) {
    const told = `event: error\ndata: ${JSON.stringify({ error: { code, message: "no" } })}\n\n`;
    const flat = `event: error\ndata: ${JSON.stringify({ code, message: "no" })}\n\n`;
    for (const [stream, expected] of [
      [told, charged],
      [flat, charged],
      [partial(pixel) + told, "unknown"],
      [partial(pixel) + flat, "unknown"],
    ] as const) {
      await using server = await startStream(stream);
      const error = await failureOf(clientOf(server).generate({ prompt }));
      expect([code, error.charged]).toEqual([code, expected]);
      expect(error.images).toBeUndefined();
      expect(server.requests).toHaveLength(1);
    }
  }
});
