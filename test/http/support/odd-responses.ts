import type { ServerResponse } from "node:http";
import {
  aigptimage,
  createImageClient,
  type ImageClientOptions,
  openaiCompatible,
  shortapi,
  trinetra,
} from "../../../src/index";
import { pixel, startServer, type TestServer } from "../../support/server";

export const apiKey = "sk-of-the-test";
export const mark = "\ufeff";

export const clientOf = ({ url }: TestServer, options: Partial<ImageClientOptions> = {}) =>
  createImageClient({ provider: openaiCompatible({ baseURL: `${url}/v1`, apiKey }), ...options });

export function sendIn(response: ServerResponse, pieces: readonly (string | Buffer)[]): void {
  response.writeHead(200);
  for (const piece of pieces) response.write(piece);
  response.end();
}

export const documentOf = (...pictures: readonly Buffer[]) =>
  JSON.stringify({ data: pictures.map((each) => ({ b64_json: each.toString("base64") })) });

export async function bytesOf(images: readonly { bytes(): Promise<Uint8Array> }[] = []) {
  return Promise.all(images.map(async (each) => Buffer.from(await each.bytes())));
}

/** What each job provider answers, with the id as it stands in the text. */
export const jobProviders = {
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
export async function startJobs(
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

export const names = Object.keys(jobProviders) as (keyof typeof jobProviders)[];

export const eventOf = (type: string, fields: object) =>
  `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
export const completed = (bytes: Buffer, more: object = {}) =>
  eventOf("image_generation.completed", { b64_json: bytes.toString("base64"), ...more });
export const partial = (bytes: Buffer) =>
  eventOf("image_generation.partial_image", {
    b64_json: bytes.toString("base64"),
    partial_image_index: 0,
  });

/** As servers write it that sort the names of the fields, up to before the end. */
export const typeLast = (bytes: Buffer, type: string) =>
  `data: {"b64_json":"${bytes.toString("base64")}","type":"image_generation.${type}"`;

export async function startStream(stream: string, cuts: readonly number[] = []) {
  const bytes = Buffer.from(stream);
  const ends = [...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
  return startServer((_, response) => {
    const pieces = ends.map((end, at) => bytes.subarray(ends[at - 1] ?? 0, end));
    sendIn(response, pieces);
  });
}
