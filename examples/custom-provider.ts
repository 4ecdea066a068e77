/**
 * A fifth provider without touching the package: an adapter is data and pure functions. Waiting,
 * repeating, paying once, downloading and every error come from the client, as for the built-in
 * ones. This one speaks createTask/recordInfo, as kie.ai and its many relatives do.
 */
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { createImageClient } from "gpt-image-client";
import {
  type Adapter,
  type Call,
  type Cost,
  defineOperation,
  defineProvider,
  imageField,
  jobId,
  jsonOrText,
  lenient,
  type Outcome,
  type Phase,
  type ProviderResponse,
  promptUpTo,
  readStatus,
  stateWord,
  type Task,
  textOrNumber,
  unreadable,
  withoutImage,
} from "gpt-image-client/provider";
import sharp from "sharp";
import { z } from "zod";
import { costText } from "./support";

// ==== the adapter: in your app a file of its own ====

// ---- options it alone takes ----

const options = z.strictObject({ model: z.string().min(1).optional() });

// ---- request mapping ----

const parameters = z.strictObject({
  prompt: promptUpTo(20_000),
  aspectRatio: z.string().optional(),
  resolution: z.enum(["1K", "2K", "4K"]).optional(),
});

function create(task: Task<z.output<typeof parameters>, z.output<typeof options>>): Call {
  const { prompt, aspectRatio, resolution } = task.parameters;
  const edits = task.operation === "edit";
  const model = edits ? "gpt-image-2-image-to-image" : "gpt-image-2-text-to-image";
  const input = {
    prompt,
    aspect_ratio: aspectRatio,
    resolution,
    input_urls: edits ? task.imageUrls : undefined,
  };
  const body = { json: { model: task.options.model ?? model, input } };
  return { method: "POST", path: "/api/v1/jobs/createTask", body };
}

const operation = {
  parameters,
  options,
  maxImagesPerTask: 1,
  dimensions: { by: "ratio", resolutions: ["1K", "2K", "4K"], auto: true },
  create,
} as const;

// ---- states ----

const states = {
  waiting: "queued",
  queuing: "queued",
  generating: "running",
  success: "succeeded",
  fail: "failed",
} as const;

// ---- response schemas ----

const record = z.looseObject({
  taskId: lenient(jobId),
  state: lenient(stateWord(states)),
  resultJson: lenient(
    z.pipe(jsonOrText, z.looseObject({ resultUrls: z.array(lenient(imageField)) })),
  ),
  failCode: lenient(textOrNumber),
  failMsg: lenient(z.string()),
  creditsConsumed: lenient(z.number().min(0)),
});

const envelope = z.looseObject({
  code: z.number(),
  msg: lenient(z.string()),
  data: lenient(record),
});

// ---- reading ----

function read(phase: Phase, reply: ProviderResponse): Outcome {
  const body = envelope.safeParse(reply.body);
  if (!body.success) {
    if (reply.status >= 300) return readStatus(phase, reply, undefined);
    return unreadable(phase, "It is not the JSON that was expected");
  }
  const { code, msg, data } = body.data;
  // It says no with HTTP 200 and a code in the body.
  if (code !== 200) {
    return readStatus(phase, { ...reply, status: code }, { message: msg, code: String(code) });
  }
  if (phase === "create") {
    if (data?.taskId === undefined) return unreadable(phase, "There is no taskId in it");
    return { state: "queued", id: data.taskId, word: "submitted", known: true };
  }
  if (data?.state === undefined) return unreadable(phase, "There is no state in it");
  const { word, state } = data.state;
  if (state === "failed") {
    const message = data.failMsg ?? "The task failed";
    const kind = "generation_failed";
    return { state, kind, charged: "unknown", resend: "never", message, code: data.failCode };
  }
  if (state === "succeeded") {
    const { resultJson, creditsConsumed: amount } = data;
    const outputs = resultJson?.resultUrls.flatMap((output) => output ?? []) ?? [];
    const cost: Cost | undefined =
      amount === undefined ? undefined : { amount, unit: "credits", basis: "reported" };
    if (outputs.length === 0) return withoutImage("There is no URL in it", cost);
    return { state, outputs, cost };
  }
  // A word that nobody has heard yet means: still running.
  return { state: state ?? "running", word, known: state !== undefined };
}

// ---- definition ----

const adapter: Adapter = {
  name: "fifth",
  keyVariable: "FIFTH_API_KEY",
  authorize: (apiKey) => ({ Authorization: `Bearer ${apiKey}` }),
  answersWith: "job",
  idempotent: false,
  operations: {
    generate: defineOperation(operation),
    edit: defineOperation({ ...operation, inputs: { as: "url", maxCount: 16, mask: false } }),
  },
  query: (id) => ({ method: "GET", path: "/api/v1/jobs/recordInfo", query: { taskId: id } }),
  read,
};

export const fifth = defineProvider("https://api.fifth.example", adapter);

// ==== the end of the adapter ====

// Its service, played by a few lines on this machine, so that the example runs.
const service = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://service");
  const reply = (data: object) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ code: 200, msg: "success", data }));
  };
  if (pathname.endsWith(".png")) {
    const [width, height, channels, background] = [1536, 1024, 3, "#35608f"] as const;
    response.end(await sharp({ create: { width, height, channels, background } }).png().toBuffer());
  } else if (request.method === "POST") {
    console.log("it got:", JSON.stringify(await json(request)));
    reply({ taskId: String(Date.now()) });
  } else {
    const taskId = searchParams.get("taskId") ?? "";
    const ageMs = Date.now() - Number(taskId);
    const state = ["waiting", "queuing", "generating"][Math.floor(ageMs / 500)] ?? "success";
    const resultJson = JSON.stringify({ resultUrls: [`http://${request.headers.host}/1.png`] });
    reply({ taskId, state, ...(state === "success" && { resultJson, creditsConsumed: 6 }) });
  }
});
await new Promise<void>((resolve) => service.listen(0, "127.0.0.1", resolve));
const baseURL = `http://127.0.0.1:${(service.address() as AddressInfo).port}`;

// The real service would be: `fifth()`, with the key in FIFTH_API_KEY.
const client = createImageClient({ provider: fifth({ baseURL, apiKey: "fifth-key" }) });
const { image, cost } = await client.generate(
  { prompt: "A harbour at noon", size: "1536x1024" },
  { onEvent: (event) => event.type === "status" && console.log(`${event.state} (${event.word})`) },
);
console.log(await image.save("output/custom-provider/harbour.png"), costText(cost));
service.close();
service.closeAllConnections();

const source = await readFile(fileURLToPath(import.meta.url), "utf8");
const [, own = ""] = source.split(/^\/\/ ==== .*\n/m);
const lines = own.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("//"));
console.log(`The adapter took ${lines.length} lines of code.`);
