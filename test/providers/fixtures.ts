import { HttpResponse, http } from "msw";
import type { SetupServer } from "msw/node";
import { createImageClient, type ImageClientOptions } from "../../src/index";
import type { ProviderResponse } from "../../src/provider";

/** The JSON of the providers' own pages, word for word, and as text: line breaks included. */
export const pages = {
  shortapi: {
    created: `{ "code": 0, "data": { "amount": "0.02", "job_id": "" } }`,
    succeeded: `{ "code": 0, "data": { "status": 2, "result": { "images": [{ "url": "https://..." }] } } }`,
    edit: `{ "model": "openai/gpt-image-2/edit", "args": { "prompt": "take a photo with Sam Altman in the conference room", "images": ["https://file.shortapi.ai/assets/examples/openai/gpt-image-2/edit-images-1.png"] }, "callback_url": "CALLBACK_URL" }`,
    generate: `{ "model": "openai/gpt-image-2/text-to-image", "args": { "prompt": "This is a live stream UI mockup featuring a smiling portrait of Elon Musk wearing a black t-shirt with a white technical schematic. The background displays a SpaceX logo on the left screen and a red Tesla T logo next to a dark car on the right. The top header shows host details for Elon Musk with 556k likes, a red follow button, a top-rank gold badge, and viewer stats showing 687k people online. On the mid-left, gift notifications pop up as fans send 1,314 hearts and 666 rockets. The bottom-left chat is active with system entries and user messages discussing the future of SpaceX, Tesla Model 2 release dates, Neuralink updates, and the impact of AI on humanity. A product card in the bottom-right corner features the Tesla Cybertruck priced at ¥1,618,000 with a red buy button and translucent hearts floating up the screen. The bottom bar includes a chat input field alongside icons for shopping, gifts, and sharing." }, "callback_url": "CALLBACK_URL" }`,
  },
  aigptimage: {
    request: `{
"model": "gpt-image-2-text-to-image",
"input": {
"prompt": "A cinematic product photo of a transparent speaker on a reflective black table",
"aspect_ratio": "1:1",
"resolution": "1K"
}
}`,
    created: `{
"code": 200,
"msg": "success",
"data": {
"taskId": "task_xxxxxxxxxxxxx"
}
}`,
    createdReal: `{
"code": 200,
"msg": "success",
"data": {
"taskId": "3ebe82c2-3abc-4015-9608-901baca54948"
}
}`,
    waiting: `{
"code": 200,
"msg": "success",
"data": {
"taskId": "task_xxxxxxxxxxxxx",
"model": "gpt-image-2-text-to-image",
"state": "waiting",
"param": "{\\"model\\":\\"gpt-image-2-text-to-image\\",\\"input\\":{\\"prompt\\":\\"A cinematic product photo of a transparent speaker on a reflective black table\\",\\"aspect_ratio\\":\\"1:1\\",\\"resolution\\":\\"1K\\"}}",
"resultJson": null,
"failCode": null,
"failMsg": null,
"costTime": null,
"completeTime": null,
"createTime": 1757584164490
}
}`,
    succeeded: `{
"code": 200,
"msg": "success",
"data": {
"taskId": "3ebe82c2-3abc-4015-9608-901baca54948",
"model": "gpt-image-2-text-to-image",
"state": "success",
"param": "{\\"model\\":\\"gpt-image-2-text-to-image\\",\\"input\\":{\\"prompt\\":\\"Generate an analysis and usage instruction diagram for the equipment name narrow-grip pulldown machine. Requirements: 3:4 aspect ratio, 4k resolution.\\"}}",
"resultJson": "{\\"resultUrls\\":[\\"https://cdn.aigptimage.com/generation/image/3ebe82c2-3abc-4015-9608-901baca54948/1.png\\"]}",
"failCode": null,
"failMsg": null,
"costTime": 59699,
"completeTime": 1777467267840,
"createTime": 1777467208141
}
}`,
    resultJson: `{
"resultUrls": ["https://your-cdn.example.com/result-1.png"]
}`,
  },
  trinetra: {
    request: `{
"prompt": "A photoreal close-up of dew on a spider web at sunrise",
"quality": "high",
"n": 1
}`,
    created: `{
"job_id": "job_gptimage2_a1b2c3",
"status": "queued"
}`,
    succeeded: `{
"id": "job_gptimage2_a1b2c3",
"model": "gpt-image-2",
"status": "succeeded",
"output": {
"outputs": [
{
"url": "https://cdn.trinetra.ai/out/gpt-image-2/a1b2c3.png",
"type": "image"
}
]
},
"credits_charged": 10
}`,
  },
  openai: {
    request: `{
"model": "gpt-image-2",
"prompt": "A simple red apple on a white table, photorealistic",
"size": "1024x1024",
"n": 1
}`,
    succeeded: `{
"created": 1780000000,
"data": [
{
"url": "https://...",
"b64_json": "...",
"revised_prompt": "..."
}
],
"usage": {}
}`,
    error: `{
"error": {
"message": "error message",
"type": "error_type",
"code": "error_code"
}
}`,
  },
} as const;

/** The smallest PNG there is: one pixel. */
export const onePixelPng = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

/** Enough of a JPEG to be known as one. */
export const jpegHead = Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 16, 0x4a, 0x46, 0x49, 0x46, 0]);

/** Enough of a GIF to be known as one. */
export const gif = Buffer.from("GIF89a\x01\x00\x01\x00\x00\x00\x00;", "latin1");

/** A string of JSON as its value. */
export function json(text: string): unknown {
  return JSON.parse(text);
}

/** What an adapter is given to read. */
export function response(
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): ProviderResponse {
  return { status, headers, body, receivedAt: Date.UTC(2026, 0, 1) };
}

/** A request as the provider sees it. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: Headers;
  /** The parsed JSON, or the form. */
  readonly body: unknown;
}

/** What the server answers: a status with a body (text is sent as it is), and headers. */
export type Reply = readonly [
  status: number,
  body: unknown,
  headers?: Readonly<Record<string, string>>,
];

/** Lets msw answer everything under an origin with these, in order and then with the last again. */
export function answers(server: SetupServer, origin: string, ...replies: Reply[]): Seen[] {
  const seen: Seen[] = [];
  server.use(
    http.all(`${origin}/*`, async ({ request }) => {
      const [status, body, headers = {}] = replies[Math.min(seen.length, replies.length - 1)] ?? [
        500,
        "",
      ];
      const type = request.headers.get("content-type") ?? "";
      const sent = type.startsWith("multipart/")
        ? await request.formData()
        : type === "application/json"
          ? await request.json()
          : undefined;
      seen.push({ method: request.method, url: request.url, headers: request.headers, body: sent });
      const text = typeof body === "string" ? body : JSON.stringify(body);
      return new HttpResponse(text, {
        status,
        headers: { "content-type": "application/json", ...headers },
      });
    }),
  );
  return seen;
}

/** A client whose calls msw sees, and that polls without waiting. */
export function clientOf(
  provider: ImageClientOptions["provider"],
  options: Partial<ImageClientOptions> = {},
) {
  return createImageClient({
    provider,
    fetch: (...given) => globalThis.fetch(...given),
    poll: 0,
    ...options,
  });
}

/** A client whose `fetch` records and answers in this process. */
export function stubbed(
  provider: ImageClientOptions["provider"],
  respond: (url: string, init: RequestInit | undefined) => Response | Promise<Response>,
  options: Partial<ImageClientOptions> = {},
) {
  const calls: { url: string; init: RequestInit | undefined }[] = [];
  const client = createImageClient({
    provider,
    fetch: async (input, init) => {
      calls.push({ url: String(input), init });
      return respond(String(input), init);
    },
    poll: 0,
    ...options,
  });
  return { client, calls };
}

/**
 * A clock that never waits: as soon as nothing else is to be done, it jumps to the next timer. For
 * clients whose `fetch` answers in this process.
 */
export function jumpingClock(startAt = Date.UTC(2026, 0, 1)) {
  let now = startAt;
  let pumping = false;
  let order = 0;
  const timers = new Map<object, { at: number; order: number; callback: () => void }>();
  const idle = async () => {
    for (let turn = 0; turn < 6; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  const pump = async () => {
    if (pumping) return;
    pumping = true;
    for (;;) {
      await idle();
      const [next] = [...timers].sort(([, a], [, b]) => a.at - b.at || a.order - b.order);
      if (next === undefined) break;
      const [key, timer] = next;
      timers.delete(key);
      now = Math.max(now, timer.at);
      timer.callback();
    }
    pumping = false;
  };
  return {
    now: () => now,
    wallTime: () => now,
    after(delayMs: number, callback: () => void) {
      if (!Number.isFinite(delayMs)) return () => {};
      const key = {};
      order += 1;
      timers.set(key, { at: now + Math.max(0, delayMs), order, callback });
      void pump();
      return () => {
        timers.delete(key);
      };
    },
  };
}
