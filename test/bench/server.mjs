/**
 * The providers that the contenders talk to, in a process of its own so that its work is not theirs.
 * Every run has a path of its own, by which it is counted: `/<run>/<service>/…`. All that is sent is
 * made before the first request.
 */
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { crc32 } from "node:zlib";

const pollsOfAJob = 20;

const signature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
/** What the length, the name and the checksum of a chunk take. */
const chunkOverhead = 12;

/** The chunks of a PNG, whose pixels are noise: no transport can make it smaller. */
function pngOf(byteLength, width, height) {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 6, 0, 0, 0], 8);
  const rest = [signature, chunkOf("IHDR", head), chunkOf("IEND", Buffer.alloc(0))];
  const restLength = rest.reduce((sum, { length }) => sum + length, 0);
  const pixels = chunkOf("IDAT", randomBytes(byteLength - restLength - chunkOverhead));
  return Buffer.concat([...rest.slice(0, 2), pixels, ...rest.slice(2)]);
}

function chunkOf(name, data) {
  const named = Buffer.concat([Buffer.from(name, "latin1"), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, checksum]);
}

const files = { small: pngOf(4_000, 64, 64), large: pngOf(12_000_000, 3840, 2160) };

/** What OpenAI answers, in its order of keys. */
function responseOf(picture) {
  return Buffer.from(
    JSON.stringify({
      created: 1_780_000_000,
      background: "opaque",
      data: [picture],
      output_format: "png",
      quality: "high",
      size: "1024x1024",
      usage: {
        input_tokens: 12,
        input_tokens_details: { image_tokens: 0, text_tokens: 12 },
        output_tokens: 4160,
        total_tokens: 4172,
      },
    }),
  );
}

const base64 = { small: files.small.toString("base64"), large: files.large.toString("base64") };
const base64Answers = {
  small: responseOf({ b64_json: base64.small }),
  large: responseOf({ b64_json: base64.large }),
};
/** Where the pictures of jobs are; nobody fetches them. */
const address = "https://cdn.example.com/pictures/7f9c2ba4e88f827d616045507605853e.png";
const dataUrl = `data:image/png;base64,${base64.small}`;

/** How often each job was asked after. */
const polls = new Map();
/** What each run has sent, and how many sockets it had. */
const runs = new Map();

function statsOf(run) {
  const stats = runs.get(run) ?? { creates: 0, polls: 0, results: 0, sockets: 0, mostSockets: 0 };
  runs.set(run, stats);
  return stats;
}

const isDone = (id) => {
  const count = (polls.get(id) ?? 0) + 1;
  polls.set(id, count);
  return count >= pollsOfAJob;
};

/** OpenAI's images API: the response is the image, or the address of one. */
const images = (picture) => (request, _path, stats, base) => {
  if (request.method === "GET") {
    stats.results += 1;
    return { type: "image/png", bytes: files[picture.size] };
  }
  stats.creates += 1;
  return picture.as === "url"
    ? { bytes: responseOf({ url: `${base}/picture.png` }) }
    : { bytes: base64Answers[picture.size] };
};

/** ShortAPI's jobs, which end with their 20th poll, or never. */
const shortapi = (ends) => (request, _path, stats) => {
  if (request.method === "POST") {
    stats.creates += 1;
    return { json: { code: 0, data: { amount: "0.06", job_id: randomUUID() } } };
  }
  stats.polls += 1;
  const id = new URL(request.url, "http://localhost").searchParams.get("id");
  const result = { images: [{ url: address }] };
  return { json: { code: 0, data: ends && isDone(id) ? { status: 2, result } : { status: 1 } } };
};

/** fal's queue: submit, status, result. */
const falQueue = (ends) => (request, path, stats, base) => {
  if (request.method === "POST") {
    stats.creates += 1;
    const id = randomUUID();
    const url = `${base}/bench/image/requests/${id}`;
    return {
      json: {
        ...{ status: "IN_QUEUE", request_id: id, response_url: url, queue_position: 0 },
        ...{ status_url: `${url}/status`, cancel_url: `${url}/cancel` },
      },
    };
  }
  const [, id, leaf] = /requests\/([^/]+)(\/status)?/.exec(path) ?? [];
  if (leaf === undefined) {
    stats.results += 1;
    return { json: { images: [{ url: address, content_type: "image/png" }] } };
  }
  stats.polls += 1;
  const status = ends && isDone(id) ? "COMPLETED" : "IN_PROGRESS";
  return { json: { status, request_id: id, logs: null, metrics: {} } };
};

/** fal's direct call, whose response holds the image as a data URL. */
const falRun = (_request, _path, stats) => {
  stats.creates += 1;
  return { json: { images: [{ url: dataUrl, content_type: "image/png" }], seed: 1 } };
};

/** Replicate's predictions: waited for (`Prefer: wait`) or polled. */
const replicate = (request, path, stats) => {
  const prediction = (id, status, output) => ({
    json: { id, status, output, input: { prompt: "" }, logs: "", error: null, metrics: {} },
  });
  if (request.method === "POST") {
    stats.creates += 1;
    return request.headers.prefer === undefined
      ? prediction(randomUUID(), "starting", null)
      : prediction(randomUUID(), "succeeded", dataUrl);
  }
  stats.polls += 1;
  const id = path.split("/").at(-1);
  return isDone(id) ? prediction(id, "succeeded", address) : prediction(id, "processing", null);
};

const services = {
  "small-base64": images({ size: "small", as: "base64" }),
  "large-base64": images({ size: "large", as: "base64" }),
  "small-url": images({ size: "small", as: "url" }),
  "large-url": images({ size: "large", as: "url" }),
  shortapi: shortapi(true),
  "shortapi-endless": shortapi(false),
  "fal-queue": falQueue(true),
  "fal-queue-endless": falQueue(false),
  "fal-run": falRun,
  replicate,
};

function count(stats, socket) {
  if (socket.isCounted) return;
  socket.isCounted = true;
  stats.sockets += 1;
  stats.mostSockets = Math.max(stats.mostSockets, stats.sockets);
  socket.once("close", () => {
    stats.sockets -= 1;
  });
}

const server = createServer((request, response) => {
  const [, run, name, ...path] = request.url.split("/");
  if (name === "stats") {
    response.end(JSON.stringify(statsOf(run)));
    return;
  }
  const stats = statsOf(run);
  count(stats, request.socket);
  const base = `http://${request.headers.host}/${run}/${name}`;
  request.resume().once("end", () => {
    const { json, bytes, type } = services[name](request, path.join("/"), stats, base);
    const body = bytes ?? Buffer.from(JSON.stringify(json));
    response.writeHead(200, {
      "content-type": type ?? "application/json",
      "content-length": body.byteLength,
    });
    response.end(body);
  });
});

// Longer than any wait between two polls: a socket that the server closes is no measure of a client.
server.keepAliveTimeout = 120_000;
server.listen(0, "127.0.0.1", () => {
  const hashOf = (bytes) => createHash("sha256").update(bytes).digest("hex");
  const { port } = server.address();
  process.send({
    origin: `http://127.0.0.1:${port}`,
    hashes: { small: hashOf(files.small), large: hashOf(files.large), address: hashOf(address) },
  });
});
process.once("disconnect", () => process.exit());
