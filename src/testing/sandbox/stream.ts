import type { ServerResponse } from "node:http";
import { wait, waitUntil } from "./delivery";
import type { SandboxFault } from "./fault-types";
import { eventText, reset, type SandboxResponse } from "./http";
import type { Job, Jobs, OrderStream } from "./jobs";

/** A stream, and what it streams. */
export interface Streaming {
  readonly jobs: Jobs;
  readonly job: Job;
  readonly stream: OrderStream;
  readonly fault: SandboxFault | undefined;
  readonly closing: AbortSignal;
}

const head = { "content-type": "text/event-stream", "cache-control": "no-cache" };

/** Whether a stream is sent as it comes: other faults are of a response that is there. */
export function isLive(fault: SandboxFault | undefined): boolean {
  if (fault === undefined || fault.fault === "moderation" || fault.fault === "failure") return true;
  return fault.fault.startsWith("stream-") && fault.fault !== "stream-ignored";
}

/** All of a stream as one response, once its job has ended. */
export async function wholeStream({
  jobs,
  job,
  stream,
  closing,
}: Streaming): Promise<SandboxResponse> {
  await waitUntil(job.dueAt, closing);
  const { partials } = stream;
  const events: string[] = [];
  for (let index = 0; index < partials; index += 1) {
    events.push(stream.partial(index, await jobs.partial(job, index + 1, partials)));
  }
  events.push(await stream.end(jobs.look(job)));
  return { status: 200, headers: head, body: events.join("") };
}

/** Sends the events of a stream when they are due, as far as the fault lets it. */
export async function sendStream(response: ServerResponse, streaming: Streaming): Promise<void> {
  const { jobs, job, stream, fault, closing } = streaming;
  const { partials } = stream;
  response.writeHead(200, head);
  response.flushHeaders();
  if (fault?.fault === "stream-comments") {
    while (!response.destroyed) {
      response.write(": keep-alive\n\n");
      await wait(fault.everyMs ?? 20, closing);
    }
    return;
  }
  const isCut = fault?.fault.startsWith("stream-") === true;
  const cutAfter =
    fault !== undefined && "afterPartials" in fault ? fault.afterPartials : undefined;
  const count = isCut ? Math.min(partials, cutAfter ?? 0) : partials;
  for (let index = 0; index < count; index += 1) {
    const lasts = job.dueAt - job.createdAt;
    const image = await jobs.partial(job, index + 1, partials);
    await waitUntil(job.createdAt + (lasts * (index + 1)) / (partials + 1), closing);
    await write(response, stream.partial(index, image));
  }
  switch (fault?.fault) {
    case "stream-broken":
      return reset(response);
    case "stream-ended":
      break;
    case "stream-error":
      await write(response, eventText("error", errorOf(fault)));
      break;
    default:
      await waitUntil(job.dueAt, closing);
      await write(response, await stream.end(jobs.look(job)));
  }
  response.end();
}

/** Settles once it has left: a reset would tear what has not. */
async function write(response: ServerResponse, text: string): Promise<void> {
  if (response.destroyed) return;
  await new Promise<void>((resolve) => response.write(text, () => resolve()));
}

function errorOf(fault: SandboxFault & { fault: "stream-error" }): object {
  const { code = "server_error", message = "The request failed.", stage, charged } = fault;
  const error = {
    message,
    type: code === "moderation_blocked" ? "image_generation_user_error" : code,
    param: null,
    code,
    ...(stage !== undefined && { moderation_details: { moderation_stage: stage, categories: [] } }),
    ...(charged !== undefined && { charged }),
  };
  return { type: "error", error };
}
