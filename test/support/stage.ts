import { setTimeout as pause } from "node:timers/promises";
import { type Clock, systemClock } from "../../src/async/clock";
import { ProviderClient } from "../../src/client";
import type { ImageClientOptions } from "../../src/client-options";
import { type AnyImageError, isImageError } from "../../src/errors";
import { Transport } from "../../src/http/transport";
import type { Provider, ProviderSettings } from "../../src/provider";
import { aigptimage, openaiCompatible, shortapi, trinetra } from "../../src/providers/index";
import {
  type Sandbox,
  type SandboxAccess,
  type SandboxOptions,
  type SandboxPhase,
  type SandboxProvider,
  type SandboxRequest,
  startSandbox,
} from "../../src/testing/sandbox";
import type { ImageEvent } from "../../src/types";
import { TestClock } from "./clock";

// The shared pool is made at the first send. That takes a while on a busy machine, and no request is
// on its way meanwhile, so that a clock which waits for nothing else would jump.
const warming = new Transport({
  ...{ clock: systemClock, timeoutMs: 10_000, attemptTimeoutMs: 10_000 },
  ...{ allowPrivateNetwork: false, trustedOrigin: "http://127.0.0.1:1" },
  ...{ maxAnswerBytes: 1_000, maxDownloadBytes: 1_000 },
});
await warming
  .exchange({ method: "GET", url: "http://127.0.0.1:1/", headers: {} }, { timeoutMs: 10_000 })
  // Nothing listens there: the pool has been made all the same.
  .catch(() => {});

export const jobProviders = ["shortapi", "aigptimage", "trinetra"] as const;
export const allProviders = [...jobProviders, "openaiCompatible"] as const;
/** Those whose create may not be sent again once it may have been accepted. */
export const unkeyed = ["shortapi", "trinetra", "openaiCompatible"] as const;

const makers: Readonly<
  Record<SandboxProvider, (settings: ProviderSettings & SandboxAccess) => Provider>
> = { shortapi, aigptimage, trinetra, openaiCompatible };

/** How many images each is asked for in three native requests. */
export const imagesForThreeTasks = {
  shortapi: 3,
  aigptimage: 3,
  trinetra: 9,
  openaiCompatible: 21,
} as const;

export function providerOf(name: SandboxProvider, access: SandboxAccess): Provider {
  return makers[name](access);
}

export const prompt = "A dew-covered web at sunrise";

export interface Stage extends AsyncDisposable {
  readonly sandbox: Sandbox;
  /** Jumps by itself whenever nothing is on its way. */
  readonly clock: TestClock;
  client(
    name: SandboxProvider,
    options?: Partial<ImageClientOptions>,
    clock?: Clock,
  ): ProviderClient;
  /** What arrived at the servers. */
  requests(phase: SandboxPhase): SandboxRequest[];
  count(phase: SandboxPhase): number;
}

/** The four providers, and time that passes by itself. */
export async function startStage(options: SandboxOptions = {}): Promise<Stage> {
  const sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true, ...options });
  const clock = new TestClock();
  const requests = (phase: SandboxPhase) =>
    sandbox.requests.filter((request) => request.phase === phase);
  return {
    sandbox,
    clock,
    requests,
    count: (phase) => requests(phase).length,
    client(name, more = {}, itsClock = clock) {
      const provider = providerOf(name, sandbox[name]);
      // The default schedule may change; what is tested with it, is tested elsewhere.
      return new ProviderClient({ provider, poll: 1_000, ...more }, itsClock);
    },
    [Symbol.asyncDispose]: () => sandbox.close(),
  };
}

export { systemClock };

/** The error of this package that a promise rejects with; anything else fails the test. */
export async function failureOf(promise: Promise<unknown>): Promise<AnyImageError> {
  const reason = await reasonOf(promise);
  if (isImageError(reason)) return reason;
  throw new Error("it rejected with something else", { cause: reason });
}

/** Whatever a promise rejects with. */
export async function reasonOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it resolved");
}

/**
 * The shortest of up to three measurements in milliseconds: what is slow by itself is slow each
 * time, and a machine that has other things to do is not.
 */
export async function shortestMs(limitMs: number, measure: () => Promise<number>): Promise<number> {
  let shortest = await measure();
  for (let more = 2; more > 0 && shortest >= limitMs; more -= 1) {
    shortest = Math.min(shortest, await measure());
  }
  return shortest;
}

/** Waits for something that is about to happen. */
export async function until(condition: () => boolean): Promise<void> {
  const giveUpAt = performance.now() + 30_000;
  while (!condition()) {
    if (performance.now() > giveUpAt) throw new Error("it never came true");
    await pause(1);
  }
}

/** Waits until a number no longer grows: until it has been the same fifty times in a row. */
export function untilStill(read: () => number): Promise<void> {
  let before = -1;
  let same = 0;
  return until(() => {
    const now = read();
    same = now === before ? same + 1 : 0;
    before = now;
    return same === 50;
  });
}

/** Long enough for whatever might still be sent by mistake to arrive. */
export async function aMoment(): Promise<void> {
  await pause(30);
}

export function typesOf(events: readonly ImageEvent[]): string[] {
  return events.map((event) => event.type);
}
