import type { Clock } from "../../src/async/clock";
import { DownloadFault } from "../../src/http/faults";
import { Transport, type TransportOptions } from "../../src/http/transport";
import { TestClock } from "../support/clock";
import { pixel, type startServer } from "../support/server";
import { reasonOf } from "../support/stage";

export const defaults: Omit<TransportOptions, "clock"> = {
  timeoutMs: 600_000,
  attemptTimeoutMs: 60_000,
  // What the guard lets through is another matter, and the servers here are this machine's.
  allowPrivateNetwork: true,
  trustedOrigin: "https://provider.example",
  maxAnswerBytes: 1024 * 1024,
  maxDownloadBytes: 1024 * 1024,
};

export function transportWith(
  options: Partial<TransportOptions> = {},
  clock: Clock = new TestClock(),
) {
  return new Transport({ ...defaults, clock, ...options });
}

export async function faultOf(promise: Promise<unknown>): Promise<DownloadFault> {
  const reason = await reasonOf(promise);
  if (reason instanceof DownloadFault) return reason;
  throw new Error("it is no DownloadFault", { cause: reason });
}

// ---- the network guard ----

export const picture = (response: Parameters<Parameters<typeof startServer>[0]>[1]) => {
  response.writeHead(200, { "content-type": "image/png" });
  response.end(pixel);
};
