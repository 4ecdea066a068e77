import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { directory, useDirectory } from "../support/directory";
import { pictureOf } from "../support/media";
import { pixel, sendJson, startServer } from "../support/server";
import { failureOf, prompt } from "../support/stage";
import { bytesOf, clientOf, completed, documentOf } from "./support/odd-responses";

useDirectory();

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
