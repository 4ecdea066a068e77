/**
 * What a job of many images takes of memory and disk, with a journal and without.
 * `node --expose-gc test/bench/large-job.mjs [path of a built package] [n]`, or `npm run bench:large-job`.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [path = ".", count = "10000", role = "main", place = ""] = process.argv.slice(2);
const n = Number(count);

const pixel =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/** A provider whose jobs are done at once, with four images each. */
async function startProvider() {
  let jobs = 0;
  const server = createServer((request, response) => {
    request.resume();
    if (request.url?.endsWith(".png")) return response.end(Buffer.from(pixel, "base64"));
    if (request.method === "POST") {
      jobs += 1;
      response.writeHead(202, { "content-type": "application/json" });
      return response.end(JSON.stringify({ job_id: `job-${jobs}`, status: "queued" }));
    }
    const url = `http://${request.headers.host}/a.png`;
    response.setHeader("content-type", "application/json");
    return response.end(
      JSON.stringify({ status: "succeeded", output: { outputs: Array(4).fill({ url }) } }),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { baseURL: `http://127.0.0.1:${server.address().port}`, server };
}

async function bytesIn(directory) {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((each) => each.isFile());
  const sizes = files.map(async (each) => (await stat(join(each.parentPath, each.name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** In a process of its own: the provider's memory is not the client's. */
async function measure() {
  const url = pathToFileURL(resolve(path, "dist/index.js"));
  const { createImageClient, directoryJournal, trinetra } = await import(url.href);
  const baseURL = process.env.BENCH_PROVIDER;
  const journal = place === "" ? {} : { journal: directoryJournal(place) };
  const client = createImageClient({
    provider: trinetra({ baseURL, apiKey: "bench" }),
    ...{ poll: 0, concurrency: 16, ...journal },
  });
  globalThis.gc?.();
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().heapUsed);
  }, 20);
  const startedAt = performance.now();
  const { images } = await client.generate({ prompt: "a fox ".repeat(20), n }, { timeoutMs: 3e6 });
  clearInterval(timer);
  const seconds = (performance.now() - startedAt) / 1000;
  const heapMB = peak / 1e6;
  const rssMB = process.resourceUsage().maxRSS / 1000;
  process.send?.({ images: images.length, seconds, heapMB, rssMB });
  await client.close();
  process.disconnect?.();
}

async function runIn(baseURL, directory) {
  const child = fork(process.argv[1], [path, count, "measure", directory], {
    env: { ...process.env, BENCH_PROVIDER: baseURL },
    execArgv: ["--expose-gc", "--max-old-space-size=4096"],
  });
  const [told] = await Promise.race([once(child, "message"), once(child, "exit")]);
  if (typeof told !== "object" || told === null) throw new Error(`It ended with ${told}`);
  await once(child, "exit");
  return told;
}

if (role === "measure") await measure();
else {
  const { baseURL, server } = await startProvider();
  for (const isKept of [false, true]) {
    const directory = isKept ? await mkdtemp(join(tmpdir(), "large-job-")) : "";
    const { images, seconds, heapMB, rssMB } = await runIn(baseURL, directory);
    const disk = isKept ? `, disk ${((await bytesIn(directory)) / 1e6).toFixed(1)} MB` : "";
    console.log(
      `${path} n = ${n}, ${isKept ? "with a journal" : "without"}: ${images} images in ${seconds.toFixed(1)} s,`,
      `peak heap ${heapMB.toFixed(0)} MB, peak RSS ${rssMB.toFixed(0)} MB${disk}`,
    );
    if (isKept) await rm(directory, { recursive: true });
  }
  server.close();
}
