import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createImageClient, shortapi } from "../../src/index";
import { directory, useDirectory } from "../support/directory";
import { pictureOf } from "../support/media";
import { pixel, startServer } from "../support/server";
import { failureOf, prompt } from "../support/stage";
import {
  apiKey,
  bytesOf,
  clientOf,
  completed,
  documentOf,
  eventOf,
  partial,
  startStream,
  typeLast,
} from "./support/odd-responses";

useDirectory();

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
