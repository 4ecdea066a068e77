/**
 * What to do about an error: one switch over `error.code`. Two facts decide: was money spent
 * (`charged`), and is it safe to send again (`retryable`)?
 */
import {
  type AnyImageError,
  aigptimage,
  createImageClient,
  type ImageResult,
  isImageError,
  openai,
  shortapi,
  trinetra,
} from "gpt-image-client";
import { type SandboxFault, startSandbox } from "gpt-image-client/testing";
import { printTable } from "./support";

function whatToDo(error: AnyImageError): string {
  switch (error.code) {
    case "moderation":
      return `Tell your user to reword it (${error.stage ?? "no stage given"}).`;
    case "budget_exceeded":
      return `Wait until ${error.renewsAt?.toISOString() ?? "somebody raises the budget"}.`;
    case "insufficient_credits":
    case "authentication":
    case "permission_denied":
      return "Wake whoever runs the account.";
    case "rate_limited":
    case "provider_unavailable":
      return `Send it again in ${Math.ceil((error.retryAfterMs ?? 30_000) / 1000)} s.`;
    case "timeout":
    case "client_closed":
      return "Keep error.job.reference; resume it later.";
    case "submission_unknown":
      return "Do not resend: look into the account first.";
    case "download_failed":
      return "The picture exists: error.job.result() again.";
    case "invalid_request":
    case "unsupported":
      return `Mend \`${error.field ?? "the request"}\`: ${error.taken ?? error.message}.`;
    case "generation_failed":
    case "malformed_response":
      return error.charged === "no" ? "Offer another try." : "Ask for a refund, with requestId.";
    case "callback_failed":
      return `Mend your own ${error.callback}.`;
    case "journal_failed":
      return "Make room on the disk; error.job.result() again, if there is a job.";
  }
}

// Always the sandbox: a real service cannot be told to fail. It is quick, and polled often.
await using sandbox = await startSandbox();
const poll = 500;
const atShortapi = createImageClient({ provider: shortapi(sandbox.shortapi), poll });
const atAigptimage = createImageClient({ provider: aigptimage(sandbox.aigptimage), poll });
const atTrinetra = createImageClient({ provider: trinetra(sandbox.trinetra), poll });
const atOpenai = createImageClient({ provider: openai(sandbox.openai) });

const prompt = "A castle made of glass";
const phase = "create";

const cases: { what: string; fault?: SandboxFault; run: () => Promise<ImageResult> }[] = [
  {
    what: "refused by moderation",
    fault: { provider: "openaiCompatible", phase, fault: "moderation", stage: "input" },
    run: () => atOpenai.generate({ prompt }),
  },
  {
    what: "no credits left",
    fault: { provider: "trinetra", phase, fault: "refusal", status: 402 },
    run: () => atTrinetra.generate({ prompt }),
  },
  {
    what: "come back in 90 s",
    fault: { provider: "openaiCompatible", phase, fault: "rate-limited", retryAfterSeconds: 90 },
    run: () => atOpenai.generate({ prompt }, { timeoutMs: 60_000 }),
  },
  {
    what: "a word it does not have",
    run: () => atTrinetra.generate({ prompt, quality: "max" }),
  },
  {
    what: "out of time",
    run: () => atTrinetra.generate({ prompt }, { timeoutMs: 200 }),
  },
  {
    // The worst of all: accepted, and the response lost. Nobody can know whether it was paid for, so
    // it is not sent again...
    what: "lost create",
    fault: { provider: "shortapi", phase, fault: "reset-after-acceptance" },
    run: () => atShortapi.generate({ prompt }),
  },
  {
    // ...save where the provider honours an idempotency key: sent again, and billed once.
    what: "lost create, with a key",
    fault: { provider: "aigptimage", phase, fault: "reset-after-acceptance" },
    run: () => atAigptimage.generate({ prompt }),
  },
];

const rows = [["what happened", "error.code", "charged", "retryable", "what to do"]];
for (const { what, fault, run } of cases) {
  if (fault !== undefined) sandbox.inject(fault);
  try {
    const { job } = await run();
    rows.push([what, "(none)", "yes", "", `Nothing: ${job.provider} gave the picture.`]);
  } catch (error) {
    if (!isImageError(error)) throw error;
    rows.push([what, error.code, error.charged, String(error.retryable), whatToDo(error)]);
  }
}
printTable(rows);

// The sandbox keeps the true bill, to hold `charged` against.
for (const { provider, amount, unit } of sandbox.charges) {
  console.log(`billed by ${provider}: ${amount} ${unit}`);
}
