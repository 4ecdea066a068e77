import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  aigptimage,
  createImageClient,
  type ImageClientOptions,
  openaiCompatible,
  shortapi,
  trinetra,
} from "../../src/index";
import { pictureOf } from "../support/media";
import { pixel, sendJson, startServer, type TestServer } from "../support/server";
import { failureOf, prompt } from "../support/stage";

let directory = "";
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "answers-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const apiKey = "sk-of-the-test";
const mark = "\ufeff";

const clientOf = ({ url }: TestServer, options: Partial<ImageClientOptions> = {}) =>
  createImageClient({ provider: openaiCompatible({ baseURL: `${url}/v1`, apiKey }), ...options });

function sendIn(response: ServerResponse, pieces: readonly (string | Buffer)[]): void {
  response.writeHead(200);
  for (const piece of pieces) response.write(piece);
  response.end();
}

const documentOf = (...pictures: readonly Buffer[]) =>
  JSON.stringify({ data: pictures.map((each) => ({ b64_json: each.toString("base64") })) });

async function bytesOf(images: readonly { bytes(): Promise<Uint8Array> }[] = []) {
  return Promise.all(images.map(async (each) => Buffer.from(await each.bytes())));
}

/** What each job provider answers, with the id as it stands in the text. */
const jobProviders = {
  shortapi: {
    make: shortapi,
    created: (id: string) => `{"code":0,"data":{"job_id":${id}}}`,
    done: (url: string) => `{"code":0,"data":{"status":2,"result":{"images":[{"url":"${url}"}]}}}`,
    asked: (url: URL) => url.searchParams.get("id"),
  },
  aigptimage: {
    make: aigptimage,
    created: (id: string) => `{"code":200,"data":{"taskId":${id}}}`,
    // The result is JSON within JSON, which may have a mark of its own.
    done: (url: string) => {
      const resultJson = `${mark}{"resultUrls":["${url}"]}`;
      return JSON.stringify({ code: 200, data: { state: "success", resultJson } });
    },
    asked: (url: URL) => url.searchParams.get("taskId"),
  },
  trinetra: {
    make: trinetra,
    created: (id: string) => `{"job_id":${id},"status":"queued"}`,
    done: (url: string) => `{"id":1,"status":"succeeded","output":{"outputs":[{"url":"${url}"}]}}`,
    asked: (url: URL) => decodeURIComponent(url.pathname.split("/").at(-1) ?? ""),
  },
} as const;

/** A job provider that gives an id, and what it is asked for after that. */
async function startJobs(
  name: keyof typeof jobProviders,
  { imageURL }: { imageURL?: string } = {},
) {
  const { make, created, done, asked } = jobProviders[name];
  const state = { id: '"a"', asked: [] as (string | null)[] };
  const server = await startServer(({ method, path }, response) => {
    if (path.startsWith("/image")) return response.end(pixel);
    if (method === "POST") {
      response.writeHead(name === "trinetra" ? 202 : 200);
      return response.end(mark + created(state.id));
    }
    state.asked.push(asked(new URL(path, server.url)));
    return response.end(`${mark}${mark}\n${done(imageURL ?? `${server.url}/image.png`)}`);
  });
  const provider = make({ baseURL: server.url, apiKey });
  // Too short for the second attempt that a key allows.
  const client = createImageClient({ provider, poll: 1, timeoutMs: 700 });
  return { client, state, server, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

const names = Object.keys(jobProviders) as (keyof typeof jobProviders)[];

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

// ---- streams that nobody asked for ----

const eventOf = (type: string, fields: object) =>
  `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
const completed = (bytes: Buffer, more: object = {}) =>
  eventOf("image_generation.completed", { b64_json: bytes.toString("base64"), ...more });
const partial = (bytes: Buffer) =>
  eventOf("image_generation.partial_image", {
    b64_json: bytes.toString("base64"),
    partial_image_index: 0,
  });

/** As servers write it that sort the names of the fields, up to before the end. */
const typeLast = (bytes: Buffer, type: string) =>
  `data: {"b64_json":"${bytes.toString("base64")}","type":"image_generation.${type}"`;

async function startStream(stream: string, cuts: readonly number[] = []) {
  const bytes = Buffer.from(stream);
  const ends = [...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
  return startServer((_, response) => {
    const pieces = ends.map((end, at) => bytes.subarray(ends[at - 1] ?? 0, end));
    sendIn(response, pieces);
  });
}

test("a stream that nobody asked for is read, wherever it is cut", async () => {
  const usage = { input_tokens: 7, output_tokens: 11, total_tokens: 18 };
  const size = fc.constantFrom(70, 2_000, 90_000);
  const cuts = fc.array(fc.nat(300_000), { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(size, size, cuts, async (first, second, places) => {
      const [sketch, picture] = [pictureOf(first, 3), pictureOf(second, 5)];
      const stream = `: hello\n\n${partial(sketch)}${completed(picture, { usage })}data: [DONE]\n\n`;
      await using server = await startStream(stream, places);
      const { images, ...result } = await clientOf(server).generate({ prompt });
      expect(images).toHaveLength(1);
      expect((await bytesOf(images))[0]?.equals(picture)).toBe(true);
      expect(result.usage).toEqual({ inputTokens: 7, outputTokens: 11, totalTokens: 18 });
      expect(JSON.stringify(result.raw)).not.toContain(picture.toString("base64", 0, 60));
    }),
    { numRuns: 25 },
  );
});

test("a stream's pictures go into the directory as they come, and of sketches nothing stays", async () => {
  const [one, two] = [pictureOf(200_000, 3), pictureOf(150_000, 5)];
  const sketch = pictureOf(180_000, 9);
  const stream = [sketch, one, sketch, sketch, two].map((each) =>
    each === sketch ? partial(each) : completed(each),
  );
  await using server = await startStream(stream.join(""));
  const place = await mkdtemp(join(directory, "place-"));
  const { images } = await clientOf(server).generate({ prompt, n: 2 }, { saveTo: place });
  expect(await readdir(place)).toHaveLength(2);
  const files = await Promise.all(images.map(({ file }) => readFile(file ?? "")));
  expect(files.map((file) => [one, two].findIndex((each) => each.equals(file)))).toEqual([0, 1]);
});

test("a stream may hold what a response without one would, and its error is one", async () => {
  const picture = pictureOf(3_000);
  await using plain = await startStream(`data: ${documentOf(picture)}\n\ndata: [DONE]\n\n`);
  expect(await bytesOf((await clientOf(plain).generate({ prompt })).images)).toEqual([picture]);
  const error = { message: "no", code: "moderation_blocked" };
  await using refused = await startStream(`event: error\ndata: ${JSON.stringify({ error })}\n\n`);
  expect(await failureOf(clientOf(refused).generate({ prompt }))).toMatchObject({
    code: "moderation",
  });
  await using begun = await startStream(
    eventOf("image_generation.in_progress", { id: "i-1" }) + partial(picture),
  );
  const unknown = await failureOf(clientOf(begun).generate({ prompt }));
  expect(unknown).toMatchObject({ code: "malformed_response", charged: "unknown" });
  expect(unknown.images).toBeUndefined();
});

test("a stream that breaks off hands over the picture that came, and of sketches none", async () => {
  const [picture, sketch] = [pictureOf(90_000), pictureOf(80_000, 3)];
  const whole = partial(sketch) + completed(picture);
  for (const [stream, count] of [
    [whole, 1],
    [whole.slice(0, -3), 1],
    [partial(sketch).slice(0, -20), 0],
    [
      partial(sketch)
        .replace(/^event.*\n/, "")
        .slice(0, -20),
      0,
    ],
    [`${typeLast(sketch, "partial_image")},`, 0],
    [`${typeLast(picture, "completed")},`, 1],
  ] as const) {
    await using server = await startServer((_, response) => {
      response.writeHead(200, { "content-length": stream.length + 1 });
      response.write(stream, () => setTimeout(() => response.destroy(), 20));
    });
    // Of two that were asked for: when all have come, it is no matter.
    if (stream === whole) await clientOf(server).generate({ prompt });
    const error = await failureOf(clientOf(server).generate({ prompt, n: 2 }));
    expect(error.charged).toBe(count === 1 ? "yes" : "unknown");
    expect((await bytesOf(error.images)).map((each) => each.equals(picture))).toEqual(
      Array(count).fill(true),
    );
  }
});

test("what is shown of a response that is no JSON has no image bytes in it", async () => {
  const base64 = pictureOf(3_000).toString("base64");
  const inLines = base64.replace(/.{76}/g, "$&\n");
  for (const body of [
    partial(pictureOf(3_000)),
    documentOf(pictureOf(3_000)).slice(0, -1),
    documentOf(pictureOf(3_000)).slice(0, 900),
    partial(pictureOf(3_000)).replaceAll("/", "\\/"),
    `Here it is: data:image/png;base64,${base64}`,
    `Here it is: ${inLines}`,
  ]) {
    await using server = await startStream(body);
    const { raw } = await failureOf(clientOf(server).generate({ prompt }));
    expect(raw).toMatch(/^(event: image_generation|\{"data"|Here it is)/);
    expect(raw).toMatch(/<an image>$/);
    expect(raw).not.toMatch(/[\w+/]{40}/);
  }
});

test("a job provider's response may come as a stream, too", async () => {
  await using server = await startServer(({ method, path }, response) => {
    if (path === "/i.png") return response.end(pixel);
    const id = '{"code":0,"data":{"job_id":1876543210987654321}}';
    const done = '{"code":0,"data":{"status":2,"result":{"images":[{"url":"/i.png"}]}}}';
    return response.end(`data: ${method === "POST" ? id : done}\n\n`);
  });
  const client = createImageClient({
    provider: shortapi({ baseURL: server.url, apiKey }),
    poll: 1,
  });
  const { image } = await client.generate({ prompt });
  expect(Buffer.from(await image.bytes()).equals(pixel)).toBe(true);
  expect(server.requests[1]?.path).toContain("id=1876543210987654321");
});

// ---- limits ----

test("ten images of 9 MB in one response fit the defaults", async () => {
  const pictures = Array.from({ length: 10 }, (_, at) => pictureOf(9_000_000, at + 1));
  await using server = await startServer((_, response) => {
    response.writeHead(200);
    response.end(documentOf(...pictures));
  });
  const place = await mkdtemp(join(directory, "place-"));
  const { images, failures } = await clientOf(server).generate(
    { prompt, n: 10 },
    { saveTo: place },
  );
  expect(failures).toEqual([]);
  for (const [at, image] of images.entries()) {
    expect((await readFile(image.file ?? "")).equals(pictures[at] ?? pixel)).toBe(true);
  }
  expect(images).toHaveLength(10);
}, 60_000);

test("one image more than was asked for is kept, and no further", async () => {
  const pictures = Array.from({ length: 6 }, (_, at) => pictureOf(50_000, at + 1));
  await using server = await startServer(({ path }, response) => {
    response.writeHead(200);
    const stream = pictures.map((each) => completed(each)).join("");
    const odd = JSON.stringify({ odd: pictures.map((each) => each.toString("base64")) });
    const body = { "/s": stream, "/o": odd, "/d": documentOf(...pictures) };
    response.end(body[path.slice(0, 2) as keyof typeof body]);
  });
  for (const path of ["/s", "/d"]) {
    const client = clientOf({ ...server, url: server.url + path });
    const place = await mkdtemp(join(directory, "place-"));
    for (const n of [1, 3]) {
      const { images } = await client.generate({ prompt, n }, n === 3 ? { saveTo: place } : {});
      const found = await bytesOf(images);
      expect(found.map((each, at) => each.equals(pictures[at] ?? pixel))).toEqual(
        Array(n + 1).fill(true),
      );
    }
    expect(await readdir(place)).toHaveLength(4);
  }
  const error = await failureOf(
    clientOf({ ...server, url: `${server.url}/o` }).generate({ prompt }),
  );
  expect(error.images).toHaveLength(2);
});

test("an image larger than maxDownloadBytes ends a response, and those before it are handed over", async () => {
  const [small, large] = [pictureOf(70_000, 3), pictureOf(90_000)];
  await using server = await startServer((_, response) => response.end(documentOf(small, large)));
  const client = clientOf(server, { maxDownloadBytes: 80_000 });
  const error = await failureOf(client.generate({ prompt, n: 2 }));
  expect(error).toMatchObject({ charged: "yes" });
  expect(error.message).toContain("maxDownloadBytes");
  expect((await bytesOf(error.images)).map((each) => each.equals(small))).toEqual([true]);
});

test("what is no image may have 2 MiB, however little it was packed", async () => {
  let body = Buffer.alloc(0);
  await using server = await startServer((_, response) => {
    response.writeHead(200, { "content-encoding": "gzip" });
    response.end(body);
  });
  const bombs = [
    `[${"{},".repeat(2_000_000)}{}]`,
    `{"data":${"[".repeat(3_000_000)}`,
    `{"a":"${"x".repeat(3_000_000)}"}`,
    "data: 1\n\n".repeat(3_000_000),
  ];
  for (const bomb of bombs) {
    body = gzipSync(bomb);
    const error = await failureOf(clientOf(server).generate({ prompt }));
    expect(error).toMatchObject({ code: "submission_unknown", charged: "unknown" });
    expect(error.message).toContain("beside its images");
  }
  body = gzipSync(documentOf(pixel) + " ".repeat(3_000_000));
  const error = await failureOf(clientOf(server).generate({ prompt }));
  expect(error.charged).toBe("yes");
  expect(await bytesOf(error.images)).toEqual([pixel]);
});

test("a large image that is no strict base64 is read all the same", async () => {
  const picture = pictureOf(3_000_000);
  const base64 = picture.toString("base64");
  const url = base64.replaceAll("+", "-").replaceAll("/", "_");
  const lines = base64.replace(/.{76}/g, "$&\\r\\n");
  for (const text of [url, lines, base64.replace(/=+$/, ""), base64.replaceAll("/", "\\/")]) {
    await using server = await startServer((_, response) =>
      response.end(`{"data":[{"b64_json":"${text}"}]}`),
    );
    const { image } = await clientOf(server).generate({ prompt });
    expect(Buffer.from(await image.bytes()).equals(picture)).toBe(true);
  }
});

test("a large image of the URL's alphabet is saved, though its first try wrote nothing", async () => {
  const picture = pictureOf(90_000);
  const saveTo = await mkdtemp(join(directory, "url-alphabet-"));
  await using server = await startServer((_, response) =>
    sendJson(response, { data: [{ b64_json: picture.toString("base64url") }] }),
  );
  const { image } = await clientOf(server).generate({ prompt }, { saveTo });
  expect((await readFile(image.file ?? "")).equals(picture)).toBe(true);
});

test("of images that are URLs one more than was asked for is kept as well, and fetched", async () => {
  const downloads: string[] = [];
  await using server = await startServer(({ method, path }, response) => {
    if (method === "POST") {
      const data = Array.from({ length: 50 }, (_, at) => ({ url: `/image/${at}.png` }));
      return sendJson(response, { data });
    }
    downloads.push(path);
    return response.end(pixel);
  });
  const place = await mkdtemp(join(directory, "place-"));
  const { images, warnings } = await clientOf(server).generate({ prompt }, { saveTo: place });
  expect(images).toHaveLength(2);
  expect(downloads).toHaveLength(2);
  expect(await readdir(place)).toHaveLength(2);
  expect(warnings).toEqual([
    "1 images were asked for and paid tasks gave 2: of each task one too many is kept, and no more",
  ]);
});

// ---- images that nobody paid for ----

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
