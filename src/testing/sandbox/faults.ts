import { checkNames } from "../names";
import type { SandboxFault, SandboxFaultKind } from "./fault-types";
import type { SandboxFaultPhase, SandboxPhase, SandboxProvider } from "./targets";

const everyPhase: readonly SandboxPhase[] = ["create", "poll", "download"];
const overTheApi: readonly SandboxPhase[] = ["create", "poll"];
const webhook: readonly SandboxFaultPhase[] = ["webhook"];
const posting: ReadonlySet<SandboxProvider> = new Set(["shortapi", "trinetra"]);

/** Where each fault makes sense: anything else in a test is a mistake worth a loud word. */
export const phasesOfFault: Readonly<
  Record<SandboxFaultKind["fault"], readonly SandboxFaultPhase[]>
> = {
  "reset-before-acceptance": everyPhase,
  "reset-after-acceptance": everyPhase,
  slow: everyPhase,
  hang: everyPhase,
  "rate-limited": everyPhase,
  unavailable: everyPhase,
  "accepted-but-unavailable": ["create"],
  malformed: everyPhase,
  "no-image": overTheApi,
  "fewer-images": overTheApi,
  "empty-id": ["create"],
  refusal: overTheApi,
  moderation: overTheApi,
  failure: overTheApi,
  "unknown-state": overTheApi,
  missing: ["poll"],
  expired: ["create", "download"],
  truncated: everyPhase,
  huge: everyPhase,
  "not-an-image": ["download"],
  redirect: everyPhase,
  "stream-broken": ["create"],
  "stream-ended": ["create"],
  "stream-error": ["create"],
  "stream-comments": ["create"],
  "stream-ignored": ["create"],
  late: webhook,
  lost: webhook,
  twice: webhook,
  "out-of-order": webhook,
  forged: webhook,
};

/** What a fault takes beside its name. */
type OwnFields = {
  readonly [Kind in SandboxFaultKind as Exclude<keyof Kind, "fault"> extends never
    ? never
    : Kind["fault"]]: Readonly<Record<Exclude<keyof Kind, "fault">, true>>;
};

const ownFields: OwnFields = {
  slow: { delayMs: true },
  hang: { afterBytes: true },
  "rate-limited": { retryAfterSeconds: true, as: true },
  unavailable: { status: true, ownBody: true, retryAfterSeconds: true },
  "accepted-but-unavailable": { status: true },
  malformed: { body: true, status: true, contentType: true },
  "fewer-images": { images: true },
  refusal: { status: true, code: true, message: true, envelope: true },
  moderation: { stage: true, categories: true },
  failure: { refunded: true, message: true },
  "unknown-state": { word: true },
  expired: { status: true },
  huge: { bytes: true },
  redirect: { location: true, status: true },
  "stream-broken": { afterPartials: true },
  "stream-ended": { afterPartials: true },
  "stream-error": {
    ...{ afterPartials: true, code: true, message: true, stage: true, charged: true },
    billed: true,
  },
  "stream-comments": { everyMs: true },
  late: { delayMs: true },
  forged: { as: true },
};

function fieldsOf(fault: SandboxFaultKind["fault"]): string[] {
  const own = new Map<string, object>(Object.entries(ownFields)).get(fault) ?? {};
  return ["provider", "phase", "fault", "times", "after", ...Object.keys(own)];
}

const providers = [
  "shortapi",
  "aigptimage",
  "trinetra",
  "openaiCompatible",
] as const satisfies readonly SandboxProvider[];

const needsAJob: ReadonlySet<SandboxFaultKind["fault"]> = new Set(["empty-id", "unknown-state"]);

interface WaitingFault {
  readonly fault: SandboxFault;
  timesLeft: number;
  toPass: number;
}

function complaintAbout(fault: SandboxFault): string | undefined {
  if (!providers.includes(fault.provider)) {
    const openai = "openaiCompatible (which is sandbox.openai, too)";
    const all = [...providers.slice(0, -1), openai].join(", ");
    return `There is no provider ${JSON.stringify(fault.provider)}: there are ${all}.`;
  }
  if (!Object.hasOwn(phasesOfFault, fault.fault)) {
    const all = Object.keys(phasesOfFault).join(", ");
    return `There is no fault ${JSON.stringify(fault.fault)}: there are ${all}.`;
  }
  const phases = phasesOfFault[fault.fault];
  if (!phases.includes(fault.phase))
    return `The fault "${fault.fault}" is for ${phases.join(" or ")}, not for ${fault.phase}.`;
  if (fault.phase === "webhook" && !posting.has(fault.provider))
    return `${fault.provider} posts no webhooks.`;
  if (fault.fault === "forged" && fault.as === "wrong-token" && fault.provider === "trinetra")
    return "Trinetra's webhooks go to one address, which carries no token.";
  if (fault.provider !== "openaiCompatible")
    return fault.fault.startsWith("stream-") ? `${fault.provider} does not stream.` : undefined;
  if (fault.phase === "poll") return "The OpenAI-compatible endpoint has nothing to poll.";
  if (needsAJob.has(fault.fault))
    return `The fault "${fault.fault}" needs a provider that answers with a job.`;
  return undefined;
}

/** The faults that wait for their requests, in the order of injection. */
export class FaultQueue {
  #waiting: WaitingFault[] = [];

  add(fault: SandboxFault): void {
    const complaint = complaintAbout(fault);
    if (complaint !== undefined) throw new TypeError(complaint);
    checkNames(fault, fieldsOf(fault.fault), ` in the fault "${fault.fault}"`);
    this.#waiting.push({ fault, timesLeft: fault.times ?? 1, toPass: fault.after ?? 0 });
  }

  /** Counts a request that has arrived, and hands out the fault that hits it. */
  take(provider: SandboxProvider, phase: SandboxFaultPhase): SandboxFault | undefined {
    let taken: WaitingFault | undefined;
    for (const waiting of this.#waiting) {
      if (waiting.fault.provider !== provider || waiting.fault.phase !== phase) continue;
      if (waiting.toPass > 0) waiting.toPass -= 1;
      else taken ??= waiting.timesLeft > 0 ? waiting : undefined;
    }
    if (taken === undefined) return undefined;
    taken.timesLeft -= 1;
    this.#waiting = this.#waiting.filter(({ timesLeft }) => timesLeft > 0);
    return taken.fault;
  }

  clear(): void {
    this.#waiting = [];
  }
}
