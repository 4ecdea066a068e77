import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { directory, useDirectory } from "../support/directory";
import { pictureOf } from "../support/media";
import { startServer } from "../support/server";

const root = fileURLToPath(new URL("../..", import.meta.url));
const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
const megabyte = 1024 * 1024;
const picture = pictureOf(12 * megabyte);

useDirectory();

/** A process of its own: its heap is the client's alone. Strings are in it, and the bytes of images are not. */
const program = (url: string) => `
import { setImmediate as turn } from "node:timers/promises";
import { getHeapStatistics } from "node:v8";
import { createImageClient, openaiCompatible } from ${JSON.stringify(join(root, "src/index.ts"))};

const client = createImageClient({
  provider: openaiCompatible({ baseURL: ${JSON.stringify(url)}, apiKey: "sk-of-the-test" }),
});
const heap = () => getHeapStatistics().used_heap_size;
await client.generate({ prompt: "warm", stream: true });
gc();
const before = heap();
let peak = before;
let shown = 0;
let isDone = false;
const watching = (async () => {
  while (!isDone) {
    await turn();
    peak = Math.max(peak, heap());
  }
})();
const { image } = await client.generate(
  { prompt: "large", partialImages: 1 },
  {
    onEvent: (event) => {
      if (event.type === "partial") shown = event.bytes.byteLength;
    },
  },
);
isDone = true;
await watching;
const { byteLength } = await image.bytes();
console.log(JSON.stringify({ grownBy: peak - before, shown, byteLength }));
process.exit(0);
`;

test("12 MB of picture in one data: line, and as much of a partial one, are never strings", async () => {
  const base64 = picture.toString("base64");
  const event = (type: string) =>
    `event: image_generation.${type}\ndata: {"b64_json":"${base64}","partial_image_index":0}\n\n`;
  await using server = await startServer(({ body }, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    const small = pictureOf(2_000).toString("base64");
    if (body.includes("warm")) return response.end(`data: {"b64_json":"${small}"}\n\n`);
    response.write(event("partial_image"));
    return response.end(event("completed"));
  });
  const file = join(directory, "program.mts");
  await writeFile(file, program(server.url));
  // Its garbage is small pieces of text: with little room for it what is in use stays small.
  const flags = ["--expose-gc", "--max-semi-space-size=1", "--import", tsx];
  const env = { ...process.env, TSX_TSCONFIG_PATH: join(root, "tsconfig.json") };
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, file], { env });
  const told = JSON.parse(stdout);
  console.log(`the heap grew by ${(told.grownBy / megabyte).toFixed(1)} MB`);
  expect(told).toMatchObject({ shown: picture.byteLength, byteLength: picture.byteLength });
  // One such string is sixteen.
  expect(told.grownBy).toBeLessThan(8 * megabyte);
}, 60_000);
