import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { SandboxFault } from "./fault-types";
import {
  proxyPage,
  reset,
  type SandboxResponse,
  send,
  sendBeginning,
  sendPadded,
  sendTruncated,
} from "./http";
import type { Problem } from "./script";

/** Waits, without keeping the process alive; rejects when the sandbox closes. */
export async function wait(delayMs: number, closing: AbortSignal): Promise<void> {
  if (delayMs > 0) await sleep(delayMs, undefined, { ref: false, signal: closing });
}

/** Waits until the clock shows `time`: a timer may fire a millisecond early. */
export async function waitUntil(time: number, closing: AbortSignal): Promise<void> {
  while (Date.now() < time) await wait(time - Date.now(), closing);
}

type Headers = Readonly<Record<string, string>>;

function retryAfter(seconds: number | undefined, asDate = false): Headers {
  if (seconds === undefined) return {};
  if (!asDate) return { "retry-after": String(seconds) };
  // An HTTP date knows whole seconds only, and must not come out too early.
  const date = new Date(Math.ceil(Date.now() / 1000 + seconds) * 1000);
  return { "retry-after": date.toUTCString() };
}

function withHeaders(reply: SandboxResponse, headers: Headers): SandboxResponse {
  return { ...reply, headers: { ...reply.headers, ...headers } };
}

function rateLimited(
  fault: SandboxFault & { fault: "rate-limited" },
  refuse: (problem: Problem) => SandboxResponse,
): SandboxResponse {
  const { retryAfterSeconds: seconds, as = "header" } = fault;
  if (as !== "body" || seconds === undefined) {
    const reply = refuse({ status: 429, message: "Rate limit exceeded." });
    return withHeaders(reply, retryAfter(seconds, as === "date"));
  }
  const message = `Rate limit exceeded. Please try again in ${seconds}s.`;
  return refuse({ status: 429, message, retryAfterSeconds: seconds });
}

function redirect(fault: SandboxFault & { fault: "redirect" }): SandboxResponse {
  const status = fault.status ?? (fault.phase === "download" ? 302 : 307);
  return { status, headers: { location: fault.location }, body: "" };
}

function refusal(fault: SandboxFault & { fault: "refusal" }): Problem {
  const { status, code, envelope, message = "The request was refused." } = fault;
  return {
    status,
    message,
    ...(code !== undefined && { code }),
    ...(envelope !== undefined && { envelope }),
  };
}

/** The response of a fault that strikes before a request is looked at; `"reset"` for none at all. */
export function answerInstead(
  fault: SandboxFault | undefined,
  refuse: (problem: Problem) => SandboxResponse,
): SandboxResponse | "reset" | undefined {
  if (fault === undefined) return undefined;
  if (fault.fault === "reset-before-acceptance") return "reset";
  if (fault.fault === "rate-limited") return rateLimited(fault, refuse);
  if (fault.fault === "redirect") return redirect(fault);
  if (fault.fault === "refusal") return refuse(refusal(fault));
  if (fault.fault !== "unavailable") return undefined;
  const { status = 503, ownBody, retryAfterSeconds } = fault;
  const headers = retryAfter(retryAfterSeconds);
  if (!ownBody) return proxyPage(status, headers);
  return withHeaders(refuse({ status, message: "The service is unavailable." }), headers);
}

function malformed(
  fault: SandboxFault & { fault: "malformed" },
  reply: SandboxResponse,
): SandboxResponse {
  const { body, status = 200, contentType = "application/json" } = fault;
  const half = reply.body.slice(0, Math.floor(reply.body.length / 2));
  return { status, headers: { "content-type": contentType }, body: body ?? half };
}

/** Sends a true response as far as the fault lets it. */
export async function deliver(
  response: ServerResponse,
  reply: SandboxResponse,
  fault: SandboxFault | undefined,
  closing: AbortSignal,
): Promise<void> {
  switch (fault?.fault) {
    case "reset-after-acceptance":
      return reset(response);
    case "hang":
      if (fault.afterBytes !== undefined) sendBeginning(response, reply, fault.afterBytes);
      return;
    case "slow":
      await wait(fault.delayMs, closing);
      return send(response, reply);
    case "accepted-but-unavailable":
      return send(response, proxyPage(fault.status ?? 502));
    case "malformed":
      return send(response, malformed(fault, reply));
    case "truncated":
      return sendTruncated(response, reply);
    case "huge":
      return sendPadded(response, reply, fault.bytes);
    default:
      return send(response, reply);
  }
}
