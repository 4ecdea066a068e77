import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { answerInstead, deliver, waitUntil } from "./delivery";
import type { SandboxFault } from "./fault-types";
import type { FaultQueue } from "./faults";
import {
  type Body,
  jsonResponse,
  parseBody,
  readBytes,
  reset,
  type SandboxResponse,
  send,
} from "./http";
import type { Job, Jobs, Order } from "./jobs";
import { formatProblem } from "./pictures";
import type { LoggedRequest } from "./request-log";
import { findTarget } from "./routes";
import {
  type ApiRequest,
  type ProviderScript,
  Refusal,
  type Route,
  type ScriptSettings,
} from "./script";
import { isLive, type Streaming, sendStream, wholeStream } from "./stream";
import type { WebhookPoster } from "./webhooks";

/** What all requests to the API share. */
export interface ApiContext {
  readonly jobs: Jobs;
  readonly faults: FaultQueue;
  readonly webhooks: WebhookPoster;
  readonly closing: AbortSignal;
  readonly missingAfterCreateMs: number;
  readonly settings: ScriptSettings;
}

/** One request to a provider while it is answered. */
interface Exchange {
  readonly context: ApiContext;
  readonly script: ProviderScript;
  readonly request: ApiRequest;
  readonly response: ServerResponse;
  readonly logged: LoggedRequest;
  readonly fault: SandboxFault | undefined;
}

function loggedBody(body: Body): unknown {
  if (body.kind === "json") return body.value;
  if (body.kind === "none") return undefined;
  if (body.kind !== "multipart") return body.text;
  return body.parts.map(({ bytes, ...part }) => ({
    ...part,
    byteLength: bytes.byteLength,
    ...(part.filename === undefined && { value: bytes.toString("utf8") }),
  }));
}

async function readOrder({ script, request, context }: Exchange): Promise<Order> {
  const order = script.read(request, context.settings);
  const message = await formatProblem(order.format);
  if (message !== undefined) throw new Refusal({ status: 400, message });
  return order;
}

/** Answers a create; `undefined` where the response has been sent as it came. */
async function create(exchange: Exchange): Promise<SandboxResponse | undefined> {
  const { script, logged, context } = exchange;
  const order = await readOrder(exchange);
  const isForStreams = exchange.fault?.fault.startsWith("stream-") === true;
  const fault = isForStreams && order.stream === undefined ? undefined : exchange.fault;
  const job = context.jobs.accept(script.name, script.newJobId(), order, fault);
  logged.jobId = job.jobId;
  context.webhooks.expect(job);
  if (order.accepted) return order.accepted(fault?.fault === "empty-id" ? "" : job.jobId);
  const streaming = streamingOf(exchange, job);
  if (streaming === undefined) {
    await waitUntil(job.dueAt, context.closing);
    return order.report(context.jobs.look(job));
  }
  if (!isLive(fault)) return wholeStream(streaming);
  await sendStream(exchange.response, streaming);
  return undefined;
}

/** The stream of a create that asks for one, unless it is refused before it begins. */
function streamingOf({ context, fault }: Exchange, job: Job): Streaming | undefined {
  const { stream } = job.order;
  const { failure } = job.fate;
  const isRefused = failure?.moderated === true && failure.stage === "input";
  if (stream === undefined || isRefused || fault?.fault === "stream-ignored") return undefined;
  return { jobs: context.jobs, job, stream, fault, closing: context.closing };
}

type PollRoute = Extract<Route, { phase: "poll" }>;

async function poll(exchange: Exchange, { jobId, absent }: PollRoute): Promise<SandboxResponse> {
  const { script, logged, fault, context } = exchange;
  logged.jobId = jobId;
  const job = context.jobs.find(script.name, jobId);
  if (job === undefined || fault?.fault === "missing") return absent(false);
  if (Date.now() - job.createdAt < context.missingAfterCreateMs) return absent(true);
  const sight = context.jobs.look(job, fault);
  context.webhooks.hasten(job);
  return job.order.report(sight);
}

async function trueResponse(
  exchange: Exchange,
  route: Route,
): Promise<SandboxResponse | undefined> {
  try {
    return await (route.phase === "create" ? create(exchange) : poll(exchange, route));
  } catch (error) {
    if (error instanceof Refusal) return exchange.script.refuse(error.problem);
    throw error;
  }
}

/** A create that was refused is not accepted, so that no fault of acceptance may touch it. */
function faultOfDelivery({ fault, logged }: Exchange): SandboxFault | undefined {
  return fault?.phase === "create" && logged.jobId === undefined ? undefined : fault;
}

async function answerExchange(exchange: Exchange, route: Route): Promise<void> {
  const { script, request, response, fault, context } = exchange;
  const instead = answerInstead(fault, script.refuse);
  if (instead === "reset") return reset(response);
  if (instead) return send(response, instead);
  if (script.keyIn(request.headers) !== script.apiKey) return send(response, script.unauthorized());
  const reply = await trueResponse(exchange, route);
  if (reply === undefined) return;
  await deliver(response, reply, faultOfDelivery(exchange), context.closing);
}

/** Answers one request to the API. */
export async function handleApi(
  message: IncomingMessage,
  response: ServerResponse,
  logged: LoggedRequest,
  context: ApiContext,
): Promise<void> {
  response.setHeader("x-request-id", `req_${randomUUID()}`);
  const bytes = await readBytes(message);
  const target = findTarget(message.method ?? "", message.url ?? "/");
  if (target === undefined)
    return send(response, jsonResponse(404, { message: "The sandbox has no such path." }));
  const { script, path, route } = target;
  if (bytes === undefined) {
    response.setHeader("connection", "close");
    return send(
      response,
      script.refuse({ status: 413, message: "The body is larger than 64 MiB." }),
    );
  }
  const body = parseBody(bytes, message.headers["content-type"]);
  logged.body = loggedBody(body);
  if (route === undefined)
    return send(response, script.refuse({ status: 404, message: "No such path or method." }));
  const request: ApiRequest = { path, headers: message.headers, body };
  const fault = context.faults.take(script.name, route.phase);
  await answerExchange({ context, script, request, response, logged, fault }, route);
}
