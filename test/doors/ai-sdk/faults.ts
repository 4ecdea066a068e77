import {
  aigptimage,
  createImageClient,
  type ImageClient,
  isImageError,
  openaiCompatible,
  shortapi,
  trinetra,
} from "gpt-image-client";
import { imageModel } from "gpt-image-client/ai-sdk";
import {
  type SandboxFault,
  type SandboxFaultKind,
  type SandboxOptions,
  type SandboxProvider,
  startSandbox,
} from "gpt-image-client/testing";
import type { Major } from "./majors";

export const providers = ["shortapi", "aigptimage", "trinetra", "openaiCompatible"] as const;
const phases = ["create", "poll", "download"] as const;

type Kind = SandboxFaultKind["fault"];
type WebhookKind = "late" | "lost" | "twice" | "out-of-order" | "forged";

/** Of streams, which `generateImage` does not ask for by itself. */
type StreamKind = Extract<Kind, `stream-${string}`>;

/** Every fault that a request can meet, with what it needs to be told. */
const kinds: {
  readonly [K in Exclude<Kind, WebhookKind | StreamKind>]: readonly SandboxFaultKind[];
} = {
  "reset-before-acceptance": [{ fault: "reset-before-acceptance" }],
  "reset-after-acceptance": [{ fault: "reset-after-acceptance" }],
  slow: [{ fault: "slow", delayMs: 300 }],
  hang: [{ fault: "hang" }],
  "rate-limited": [{ fault: "rate-limited" }, { fault: "rate-limited", retryAfterSeconds: 90 }],
  unavailable: [
    { fault: "unavailable" },
    { fault: "unavailable", ownBody: true },
    { fault: "unavailable", status: 500, ownBody: true },
  ],
  "accepted-but-unavailable": [{ fault: "accepted-but-unavailable" }],
  malformed: [{ fault: "malformed" }],
  "no-image": [{ fault: "no-image" }],
  "fewer-images": [{ fault: "fewer-images", images: 1 }],
  "empty-id": [{ fault: "empty-id" }],
  refusal: [
    { fault: "refusal", status: 400 },
    { fault: "refusal", status: 402 },
  ],
  moderation: [{ fault: "moderation" }, { fault: "moderation", stage: "input" }],
  failure: [{ fault: "failure" }],
  "unknown-state": [{ fault: "unknown-state", word: "pondering" }],
  missing: [{ fault: "missing" }],
  expired: [{ fault: "expired" }],
  truncated: [{ fault: "truncated" }],
  huge: [{ fault: "huge", bytes: 6_000_000 }],
  "not-an-image": [{ fault: "not-an-image" }],
  redirect: [{ fault: "redirect", location: "http://127.0.0.1:9/elsewhere" }],
};

/** Every fault at every place where the sandbox has it. */
export async function everyFault(): Promise<SandboxFault[]> {
  await using sandbox = await startSandbox();
  const found: SandboxFault[] = [];
  for (const provider of providers) {
    for (const phase of phases) {
      for (const kind of Object.values(kinds).flat()) {
        const fault: SandboxFault = { provider, phase, ...kind };
        if (isPossible(() => sandbox.inject(fault))) found.push(fault);
      }
    }
  }
  return found;
}

function isPossible(inject: () => void): boolean {
  try {
    inject();
    return true;
  } catch {
    // It makes no sense there.
    return false;
  }
}

const makers = { shortapi, aigptimage, trinetra, openaiCompatible };

/** What came of a call, and what the provider's bill says. */
export interface Outcome {
  readonly purchases: number;
  /** How many images reached the caller. */
  readonly delivered: number;
  /** What was thrown, where anything was. */
  readonly error: unknown;
  /** What an error of ours says of money. */
  readonly charged: "no" | "yes" | "unknown" | undefined;
  /** How many creates arrived. */
  readonly creates: number;
  /** How often the SDK called the model. */
  readonly calls: number;
}

/** Our model, through the SDK, while a fault lasts. */
export async function measureOurs(
  { sdk }: Major,
  fault: SandboxFault | undefined,
  options: SandboxOptions = {},
): Promise<Outcome> {
  // A download is one only where the response names a URL.
  const openaiAnswers = fault?.phase === "download" ? "url" : "b64_json";
  return measure(
    fault,
    { openaiAnswers, ...options },
    async (access, { provider }, abortSignal) => {
      const client: ImageClient = createImageClient({
        provider: makers[provider](access),
        ...{ poll: 20, attemptTimeoutMs: 3_000, maxAnswerBytes: 5e6, maxDownloadBytes: 5e6 },
        timeoutMs: fault?.fault === "hang" || fault?.times === Infinity ? 6_000 : 30_000,
      });
      const model = imageModel(client);
      let calls = 0;
      const doGenerate: typeof model.doGenerate = (given) => {
        calls += 1;
        return model.doGenerate(given);
      };
      const n = nOf(fault);
      const asked = { model: { ...model, doGenerate }, prompt: "A web", n, abortSignal };
      return { generating: sdk.generateImage(asked), calls: () => calls };
    },
  );
}

/** The SDK's own model for OpenAI's API, in the same way. */
export async function measureOwn(
  { sdk, ownModel }: Major,
  fault: SandboxFault | undefined,
  options: SandboxOptions = {},
): Promise<Outcome> {
  return measure(fault, options, async (access, _, abortSignal) => {
    const asked = { model: ownModel(access), prompt: "A web", n: nOf(fault), abortSignal };
    // It sends no size of its own, which the endpoint wants.
    const generating = sdk.generateImage({ ...asked, size: "1024x1024" });
    return { generating, calls: () => Number.NaN };
  });
}

const nOf = (fault: SandboxFault | undefined) => (fault?.fault === "fewer-images" ? 2 : 1);

type Start = (
  access: { baseURL: string; apiKey: string },
  target: { provider: SandboxProvider },
  abortSignal: AbortSignal,
) => Promise<{
  generating: Promise<{ images: readonly { uint8Array: Uint8Array }[] }>;
  calls: () => number;
}>;

async function measure(
  fault: SandboxFault | undefined,
  options: SandboxOptions,
  start: Start,
): Promise<Outcome> {
  const target = fault ?? { provider: "openaiCompatible" as const };
  await using sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true, ...options });
  if (fault !== undefined) sandbox.inject(fault);
  const limit = AbortSignal.timeout(fault?.fault === "hang" ? 8_000 : 20_000);
  const { generating, calls } = await start(sandbox[target.provider], target, limit);
  const { images, error } = await generating.then(
    (result) => ({ images: result.images, error: undefined }),
    (reason: unknown) => ({ images: [], error: reason }),
  );
  return {
    purchases: sandbox.charges.length,
    delivered: images.filter(({ uint8Array }) => uint8Array.byteLength > 100).length,
    error,
    charged: isImageError(error) ? error.charged : undefined,
    creates: sandbox.requests.filter(({ phase }) => phase === "create").length,
    calls: calls(),
  };
}
