import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import { mayHoldBase64 } from "../../src/http/text-scanner";
import {
  createImageClient,
  type ImageClientOptions,
  openaiCompatible,
  trinetra,
} from "../../src/index";
import { TestClock } from "../support/clock";
import { directory, useDirectory } from "../support/directory";
import { pictureOf } from "../support/media";
import { pixel, sendJson, startServer, type TestServer } from "../support/server";
import { failureOf, prompt } from "../support/stage";

useDirectory();

const apiKey = "sk-of-the-test";

const clientOf = ({ url }: TestServer, options: Partial<ImageClientOptions> = {}) =>
  createImageClient({ provider: openaiCompatible({ baseURL: `${url}/v1`, apiKey }), ...options });

const base64 = (bytes: Buffer) => bytes.toString("base64");
const documentOf = (...pictures: readonly Buffer[]) =>
  JSON.stringify({ data: pictures.map((each) => ({ b64_json: base64(each) })) });

async function bytesOf(images: readonly { bytes(): Promise<Uint8Array> }[] = []) {
  return Promise.all(images.map(async (each) => Buffer.from(await each.bytes())));
}

/** A server that answers in pieces, cut at these places. */
function startCut(body: string, cuts: readonly number[] = [], contentType = "application/json") {
  const bytes = Buffer.from(body);
  const ends = [...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
  return startServer((_, response) => {
    response.writeHead(200, { "content-type": contentType });
    for (const [at, end] of ends.entries()) response.write(bytes.subarray(ends[at - 1] ?? 0, end));
    response.end();
  });
}

// ---- images within texts ----

const markdown = (bytes: Buffer) => `Here: ![image](data:image/png;base64,${base64(bytes)}) and so`;
const withSlashes = (json: string) => json.replaceAll("/", "\\/");
const withPluses = (json: string) => json.replaceAll("+", "\\u002B");
const spoken = (inner: object) => JSON.stringify({ text: `So: ${JSON.stringify(inner)}` });
const markdownInLines = (bytes: Buffer) =>
  `![image](data:image/png;base64,${inLines(base64(bytes), 76, "\n")}) and so`;
const chunk = (content: string) =>
  `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`;

/** How servers wrap an image in a text. */
const wrappers: Record<string, (bytes: Buffer) => string> = {
  markdown: (bytes) => JSON.stringify({ choices: [{ message: { content: markdown(bytes) } }] }),
  php: (bytes) => withSlashes(JSON.stringify({ choices: [{ text: markdown(bytes) }] })),
  html: (bytes) =>
    JSON.stringify({ html: `<p>é</p>\n<img src="data:image/png;base64,${base64(bytes)}">` }),
  lambda: (bytes) => JSON.stringify({ statusCode: 200, body: documentOf(bytes) }),
  twice: (bytes) => JSON.stringify(documentOf(bytes)),
  fenced: (bytes) => JSON.stringify({ text: `Done:\n\`\`\`json\n${documentOf(bytes)}\n\`\`\`` }),
  "PHP's in a text": (bytes) => JSON.stringify({ body: `So: ${withSlashes(documentOf(bytes))}` }),
  "PHP's in PHP's": (bytes) => withSlashes(JSON.stringify({ a: withSlashes(documentOf(bytes)) })),
  "PHP's data URL": (bytes) => JSON.stringify({ body: withSlashes(`So: ${markdown(bytes)}`) }),
  "in lines": (bytes) => JSON.stringify({ text: markdownInLines(bytes) }),
  "JSON of lines": (bytes) =>
    JSON.stringify({ body: `So: ${JSON.stringify({ text: markdownInLines(bytes) })}` }),
  "PHP's in JSON": (bytes) => spoken({ body: withSlashes(documentOf(bytes)) }),
  ".NET's": (bytes) => JSON.stringify({ body: `So: ${withPluses(documentOf(bytes))}` }),
  ".NET's in JSON": (bytes) => spoken({ body: withPluses(documentOf(bytes)) }),
  "JSON of JSON of lines": (bytes) => spoken({ a: JSON.stringify({ b: markdownInLines(bytes) }) }),
  "behind words": (bytes) =>
    JSON.stringify({ text: `Here is the picture that was ordered: ${base64(bytes)} and so` }),
  thrice: (bytes) => JSON.stringify({ a: JSON.stringify({ body: documentOf(bytes) }) }),
  stream: (bytes) => `${chunk("So: ") + chunk(markdown(bytes))}data: [DONE]\n\n`,
};

test("an image within a text of a response is on the error, wherever the response is cut", async () => {
  const size = fc.constantFrom(90, 3_001, 50_000, 100_000, 400_000);
  const cuts = fc.array(fc.nat(160_000), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...Object.keys(wrappers)), size, cuts, async (name, n, at) => {
      const picture = pictureOf(n);
      await using server = await startCut(wrappers[name]?.(picture) ?? "", at);
      const error = await failureOf(clientOf(server).generate({ prompt }));
      expect([name, error.charged, error.images?.length]).toEqual([name, "yes", 1]);
      expect((await bytesOf(error.images))[0]?.equals(picture)).toBe(true);
      // A short text is shown as it is.
      if (n > 1_000) expect(JSON.stringify(error.raw)).not.toContain(base64(picture).slice(0, 60));
    }),
    {
      numRuns: 60,
      examples: Object.keys(wrappers).map((name) => [name, 100_000, [31, 45, 52, 60, 65_536]]),
    },
  );
});

test("an image behind those that were sent is kept, of which a text repeats each", async () => {
  const [one, two, result] = [pictureOf(300), pictureOf(400), pictureOf(500)];
  const text = `In: ${base64(one)} and ${base64(two)}, out: ${base64(result)}!`;
  await using server = await startCut(JSON.stringify({ text }));
  const error = await failureOf(clientOf(server).edit({ prompt, images: [one, two] }));
  expect((await bytesOf(error.images)).map((each) => each.equals(result))).toEqual([true]);
});

test("words are not scanned for an image, and every text that holds one is", () => {
  expect(["", "a web", "A dew-covered web at sunrise, 1024 x 1024"].map(mayHoldBase64)).toEqual([
    ...[false, false, false],
  ]);
  for (const wrap of Object.values(wrappers)) expect(mayHoldBase64(wrap(pictureOf(90)))).toBe(true);
});

test("an image within a text is seen however many bytes come at once", async () => {
  const picture = pictureOf(70_000);
  for (const [name, wrap] of Object.entries(wrappers)) {
    const body = wrap(picture);
    const start = body.indexOf("iVBOR") - 30;
    const cuts = Array.from({ length: 60 }, (_, index) => start + index);
    await using server = await startCut(`${body.padEnd(70_000)}`, [start - 1, ...cuts]);
    const error = await failureOf(clientOf(server).generate({ prompt }));
    expect([name, (await bytesOf(error.images))[0]?.equals(picture)]).toEqual([name, true]);
  }
});

const inLines = (text: string, length: number, end: string) =>
  text.replace(new RegExp(`.{${length}}`, "g"), `$&${end}`);

/** How an image stands in a body that is no JSON. */
const texts: Record<string, (bytes: Buffer) => string> = {
  bare: base64,
  dataUrl: (bytes) => `data:image/png;base64,${base64(bytes)}\n`,
  sentence: (bytes) => `Success! Your image: ${base64(bytes)} (1024x1024)`,
  markdown,
  fragment: (bytes) => `<image type='png'>${base64(bytes)}</image>`,
  form: (bytes) => `status=ok&b64_json=${base64(bytes)}&size=auto`,
  lines: (bytes) => `OK\n\n${inLines(base64(bytes), 76, "\r\n")}\nDone.`,
  escapedLines: (bytes) => `image: ${inLines(base64(bytes), 64, "\\n")}`,
  slashes: (bytes) => `b64_json: ${withSlashes(base64(bytes))}`,
  unpadded: (bytes) => `image ${base64(bytes).replace(/=+$/, "")}`,
  ofUrls: (bytes) => `image ${bytes.toString("base64url")}`,
};

const exampleOf = (name: string): [string, number, number[], boolean] => [name, 90_000, [], true];

test("an image in a text that is no JSON is on the error, wherever the response is cut", async () => {
  const lengths: fc.Arbitrary<number> = fc.constantFrom(70, 71, 72, 3_000, 90_000, 90_001);
  const cuts = fc.array(fc.nat(200_000), { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...Object.keys(texts)),
      lengths,
      cuts,
      fc.boolean(),
      async (name, length, places, saves) => {
        const picture = pictureOf(length, 7);
        const body = texts[name]?.(picture) ?? "";
        await using server = await startCut(body, places, "text/plain");
        const saveTo = saves ? await mkdtemp(join(directory, "place-")) : undefined;
        const call = saveTo === undefined ? {} : { saveTo };
        const error = await failureOf(clientOf(server).generate({ prompt }, call));
        expect(error).toMatchObject({ code: "malformed_response", charged: "yes" });
        const [found, ...more] = await bytesOf(error.images);
        expect(more).toEqual([]);
        // Letters of a text that goes on in the next line are bytes after the end.
        expect(found?.subarray(0, length).equals(picture)).toBe(true);
        if (name !== "lines") expect(found).toHaveLength(length);
        expect(server.requests).toHaveLength(1);
        expect(JSON.stringify(error.raw)).not.toContain(base64(picture).slice(0, 60));
        if (saveTo !== undefined) expect(await readdir(saveTo)).toHaveLength(1);
      },
    ),
    {
      numRuns: 60,
      examples: [
        ...Object.keys(texts).map((name) => exampleOf(name)),
        // As much of a data URL as begins a stream of events.
        ["dataUrl", 70, [5], false],
        ["dataUrl", 70, [12], true],
      ],
    },
  );
});

test("two images in the lines of a text are told apart, and words are no image", async () => {
  const pictures = [pictureOf(3_000), pictureOf(90_000, 7)];
  await using server = await startCut(pictures.map(base64).join("\n"), [], "text/plain");
  const error = await failureOf(clientOf(server).generate({ prompt, n: 2 }));
  const found = await bytesOf(error.images);
  expect(found.map((each, at) => pictures[at]?.equals(each))).toEqual([true, true]);
  await using words = await startCut(`Bad gateway ${"9j/4".repeat(40)}`, [], "text/plain");
  const plain = await failureOf(clientOf(words).generate({ prompt }));
  expect(plain).toMatchObject({ code: "malformed_response", charged: "unknown" });
  expect(plain.images).toBeUndefined();
});

test("an image in the words of a refusal keeps its reason, and is no proof that nothing was paid", async () => {
  await using server = await startServer((_, response) => {
    response.writeHead(402, { "content-type": "text/plain" });
    response.end(`no credits left ${base64(pictureOf(3_000))}`);
  });
  const error = await failureOf(clientOf(server).generate({ prompt }));
  expect(error).toMatchObject({ code: "insufficient_credits", charged: "unknown" });
  expect(error.images).toHaveLength(1);
});

test("several images within one text are told apart, and are in the directory", async () => {
  const pictures = [pictureOf(120_000, 3), pictureOf(90_000, 5)];
  const content = `${pictures.map(markdown).join("\n;base64,")} url(;base64,AAAA)`;
  await using server = await startCut(JSON.stringify({ content, more: 1 }));
  const error = await failureOf(clientOf(server).generate({ prompt, n: 2 }, { saveTo: directory }));
  const saved = (error.images ?? []).map(async ({ file }) => readFile(file ?? ""));
  const found = await Promise.all(saved);
  expect(found.map((bytes, at) => bytes.equals(pictures[at] ?? pixel))).toEqual([true, true]);
  expect(error.raw).toMatchObject({ content: expect.stringContaining("AAAA"), more: 1 });
});

test("a text that only looks like one with an image stays as it is", async () => {
  const junk = Buffer.alloc(70_000, 7);
  const contents = [
    `![a](data:image/png;base64,${base64(junk)})`,
    `![a](data:image/png;base64,${base64(pictureOf(90_000))}!!`,
    `${";base64,iVBORw0K".repeat(9_000)}`,
    JSON.stringify({ a: "x".repeat(70_000), b: ['"'.repeat(900), ";base", ";base64"] }),
  ];
  for (const content of contents) {
    const usage = { input_tokens: 1, output_tokens: 2, total_tokens: 3 };
    const data = [{ revised_prompt: content, b64_json: base64(pixel) }];
    await using server = await startCut(JSON.stringify({ data, usage }));
    const { image, usage: told } = await clientOf(server).generate({ prompt });
    expect(told?.totalTokens).toBe(3);
    // What is an image ends where its base64 does, and words stand for it.
    const isImage = content.includes("!!");
    if (!isImage) expect(image.revisedPrompt === content).toBe(true);
    expect(Buffer.from(await image.bytes()).equals(pixel)).toBe(true);
  }
});

test("a text of many beginnings is read in a time that grows with it", async () => {
  for (const part of [
    ";base64,",
    '\\"',
    `;base64,${base64(pictureOf(60)).slice(0, 79)}!`,
    '\\\\\\"',
  ]) {
    const cpuMs: number[] = [];
    for (const length of [500_000, 2_000_000]) {
      const body = `{"a":"${part.repeat(Math.floor(length / part.length))}"}`;
      await using server = await startCut(body);
      const started = process.cpuUsage();
      const error = await failureOf(clientOf(server).generate({ prompt }));
      expect(error.code).toBe("malformed_response");
      const { user, system } = process.cpuUsage(started);
      cpuMs.push((user + system) / 1_000);
    }
    // In squared time four times the text takes sixteen times as long; what is constant is forgiven.
    const [short = 0, long = 0] = cpuMs;
    expect(long).toBeLessThan(8 * short + 500);
  }
});

test("a Buffer of Node's that went through JSON is an image where its bytes are one", async () => {
  for (const picture of [pixel, pictureOf(30_000)]) {
    await using server = await startCut(JSON.stringify({ data: [{ b64_json: picture }] }));
    const error = await failureOf(clientOf(server).generate({ prompt }));
    expect(error).toMatchObject({ code: "malformed_response", charged: "yes" });
    expect((await bytesOf(error.images)).map((each) => each.equals(picture))).toEqual([true]);
  }
  for (const data of [[1, 2, 3], ["a"], [137.5, 80], "iVBOR"]) {
    await using server = await startCut(JSON.stringify({ image: { type: "Buffer", data } }));
    const error = await failureOf(clientOf(server).generate({ prompt }));
    expect([error.charged, error.images]).toEqual(["unknown", undefined]);
  }
});

// ---- images by their URLs ----

/** A server of pictures whose creates are answered with what is given. */
async function startPictures(status: number, body: (url: string) => unknown) {
  const server = await startServer(({ method }, response) => {
    if (method === "GET") return response.end(pixel);
    return sendJson(response, body(server.url), status);
  });
  return server;
}

test("the picture behind a URL in a response of unknown shape is on the error", async () => {
  const shapes: ((url: string) => unknown)[] = [
    (url) => ({ images: [{ url: `${url}/a` }] }),
    (url) => ({ output: [`${url}/a.png`] }),
    (url) => ({ output: `${url}/a.png?sig=x` }),
    (url) => ({ result: { imageUrl: `${url}/a` } }),
    (url) => ({ statusCode: 200, body: JSON.stringify({ data: [{ url: `${url}/a` }] }) }),
    (url) => ({ choices: [{ message: { content: `![image](${url}/a)` } }] }),
    (url) => ({ image_url: `${url}/a` }),
    () => ({ images: [{ url: "/a.png" }] }),
  ];
  for (const status of [200, 500]) {
    for (const shape of shapes) {
      await using server = await startPictures(status, shape);
      const error = await failureOf(clientOf(server).generate({ prompt }));
      expect([status, String(shape), error.charged]).toEqual([status, String(shape), "unknown"]);
      expect(await bytesOf(error.images)).toEqual([pixel]);
      expect(server.requests.filter(({ method }) => method === "POST")).toHaveLength(1);
    }
  }
});

test("a refusal beside the URL of a picture keeps its reason, and is no proof that nothing was paid", async () => {
  const cases = {
    400: ["invalid_request", { message: "late" }],
    429: ["rate_limited", { message: "late" }],
    200: ["insufficient_credits", { code: "insufficient_quota", message: "q" }],
  } as const;
  for (const [status, [code, error]] of Object.entries(cases)) {
    await using server = await startPictures(Number(status), (url) => ({
      error,
      images: [{ url: `${url}/a.png` }],
    }));
    const failure = await failureOf(clientOf(server).generate({ prompt }));
    expect(failure).toMatchObject({ code, charged: "unknown", retryable: false });
    expect(await bytesOf(failure.images)).toEqual([pixel]);
    expect(server.requests.filter(({ method }) => method === "POST")).toHaveLength(1);
  }
});

test("a URL in a refusal that leads to no picture of this create changes nothing", async () => {
  const sent = "https://example.com/mine.png";
  const bodies: ((url: string) => unknown)[] = [
    () => ({ error: { message: "no", url: "https://docs.example.com/errors" } }),
    () => ({ error: { message: "see https://docs.example.com" }, url: "https://docs.example.com" }),
    (url) => ({ message: "no", data: { url: `${url}/v1/images/generations` } }),
    () => ({ message: "no", data: { status_url: "https://example.com/jobs/1" } }),
    () => ({ message: "no", input: { image_url: "https://example.com/other.png" } }),
    () => ({ message: "no", data: { image: sent } }),
    () => ({ message: "no", links: { image: "https://example.com/logo.png" } }),
    () => ({ message: "no", url: "/v1/images/generations" }),
    () => ({ message: "no", result: "None", output: "javascript:alert(1)", image: "data:," }),
  ];
  for (const body of bodies) {
    await using server = await startPictures(400, body);
    const providerOptions = { openai: { extraBody: { reference: sent } } };
    const error = await failureOf(clientOf(server).generate({ prompt, providerOptions }));
    expect([String(body), error.charged, error.images]).toEqual([String(body), "no", undefined]);
  }
});

test("the picture behind a URL is fetched under the guard, and without the key", async () => {
  await using inside = await startServer((_, response) => response.end(pixel));
  await using server = await startPictures(200, () => ({ images: [{ url: `${inside.url}/a` }] }));
  const error = await failureOf(clientOf(server).generate({ prompt }));
  expect(error.images).toHaveLength(1);
  const refused = await failureOf(error.images?.[0]?.bytes() ?? Promise.resolve());
  expect(refused).toMatchObject({ code: "download_failed" });
  expect(inside.requests).toHaveLength(0);
});

// ---- jobs that never say that they have ended ----

test("an image beside a state that nobody knows is on the error of the time-out", async () => {
  const outputs = [
    (url: string) => ({ outputs: [{ url: `${url}/a.png` }] }),
    () => ({ picture: base64(pixel) }),
    () => ({ picture: base64(pictureOf(100_000)) }),
  ];
  for (const [index, output] of outputs.entries()) {
    await using server = await startServer(({ method, path }, response) => {
      if (path === "/a.png") return response.end(pixel);
      if (method === "POST") return sendJson(response, { job_id: "j-1" }, 202);
      return sendJson(response, { status: "all_done", output: output(server.url) });
    });
    const provider = trinetra({ baseURL: server.url, apiKey });
    const client = new ProviderClient({ provider, poll: 5, timeoutMs: 300 }, new TestClock());
    const error = await failureOf(client.generate({ prompt }));
    expect(error).toMatchObject({ code: "timeout", charged: "unknown" });
    const expected = index === 2 ? pictureOf(100_000) : pixel;
    expect((await bytesOf(error.images)).map((each) => each.equals(expected))).toEqual([true]);
  }
});

test("what a running job shows of its input, or beside a word that is known, is no picture of it", async () => {
  const shown = [
    { status: "running", output: { outputs: [{ url: "https://example.com/sketch.png" }] } },
    { status: "all_done", input: { images: ["https://example.com/mine.png"] } },
  ];
  for (const data of shown) {
    await using server = await startServer(({ method }, response) =>
      method === "POST" ? sendJson(response, { job_id: "j-1" }, 202) : sendJson(response, data),
    );
    const provider = trinetra({ baseURL: server.url, apiKey });
    const client = new ProviderClient({ provider, poll: 5, timeoutMs: 200 }, new TestClock());
    const error = await failureOf(client.generate({ prompt }));
    expect(error).toMatchObject({ code: "timeout", charged: "unknown" });
    expect(error.images).toBeUndefined();
  }
});
