import type {
  Adapter,
  Outcome,
  Output,
  Phase,
  ProviderResponse,
  Refused,
} from "../adapter/contract";
import { meaningOfCode } from "../adapter/error-codes";
import { moderated, unreadable } from "../adapter/refusals";
import { fieldOf } from "./field-of";
import { withReport } from "./own-report";

/**
 * What a response means: what the adapter reads in it, and what holds at every provider, whoever wrote
 * its adapter.
 *
 * @param url the address that was asked.
 */
export function readResponse(
  adapter: Adapter,
  phase: Phase,
  response: ProviderResponse,
  url: string,
): Outcome {
  const isRedirect = response.status >= 300 && response.status < 400;
  const read = isRedirect ? redirected(phase, response, url) : readBy(adapter, phase, response);
  const outcome = adapter.trustsCharged === true ? withReport(response.body, read) : read;
  if (outcome.state !== "refused" && outcome.state !== "failed") return outcome;
  const told = withMeaning(phase, response, withWords(response, outcome));
  // A poll is free, and one that was refused says nothing of the job.
  if (phase === "query")
    return told.state === "failed" ? withCharge(adapter, response, told) : told;
  const judged = withCharge(adapter, response, withAddress(response, url, withOutput(told)));
  return withShouldRetry(response, inStream(response, judged));
}

function readBy(adapter: Adapter, phase: Phase, response: ProviderResponse): Outcome {
  try {
    return adapter.read(phase, response);
  } catch (error) {
    // An adapter must not throw; a custom one that does has not understood the response.
    return unreadable(phase, `The adapter threw: ${String(error)}`);
  }
}

/**
 * A redirect is not followed: the key goes to the provider's origin alone. 307 and 308 say that the
 * same request belongs elsewhere, and that nothing was done with it. 301 to 303 may as well be the
 * response to a create that went through.
 */
function redirected(phase: Phase, response: ProviderResponse, url: string): Refused {
  const { status } = response;
  const to = addressIn(response.headers.location, url);
  const message = `It was redirected (HTTP ${status}) to ${to ?? "no address that can be read"}: is \`baseURL\` right?`;
  const refused = { state: "refused", message, field: "baseURL" } as const;
  if (phase === "query") {
    return { ...refused, kind: "provider_unavailable", charged: "unknown", resend: "never" };
  }
  return status === 307 || status === 308
    ? { ...refused, kind: "invalid_request", charged: "no", resend: "never" }
    : { ...refused, kind: "submission_unknown", charged: "unknown", resend: "keyed" };
}

/** An address as it may be shown: credentials and query may be secrets. */
function addressIn(text: string | undefined, base?: string): string | undefined {
  if (text === undefined || !URL.canParse(text, base)) return undefined;
  const { protocol, host, pathname } = new URL(text, base);
  return `${protocol}//${host}${pathname}`;
}

/** Who is to blame, where a code says it that many use. None of these but a limit of the rate passes. */
function withMeaning(phase: Phase, response: ProviderResponse, outcome: Refused): Refused {
  const { state, kind } = outcome;
  // A gateway may put its own code beside an envelope that the adapter does not look into.
  const code = outcome.code ?? textIn(response.body, ["code"]);
  const meaning = meaningOfCode(code, response.status);
  if (state === "failed" || kind === "moderation" || meaning === undefined) return outcome;
  // Of a poll that was refused none but the reason changes: it is free, and asked again as before.
  if (phase === "query")
    return kind === "permission_denied" ? { ...outcome, kind: meaning } : outcome;
  if (meaning === "moderation") {
    const isKnown = response.status >= 400 && outcome.charged === "no";
    return isKnown ? moderated(outcome) : { ...moderated(outcome), charged: "unknown" };
  }
  const isOpen = kind === "submission_unknown" || kind === "malformed_response";
  const resend = meaning === "rate_limited" ? outcome.resend : "never";
  return { ...outcome, kind: isOpen ? kind : meaning, resend };
}

/** Words about a picture that exists already. */
const aboutOutput =
  /\b(generated|output|resulting) (image|picture|photo|content)|\b(image|picture)s? (was|were|has been|have been) (generated|created)/i;

/** A create that was moderated for the picture: the work was done, whatever its adapter makes of it. */
function withOutput(outcome: Refused): Refused {
  if (outcome.kind !== "moderation" || !aboutOutput.test(outcome.message)) return outcome;
  const charged = outcome.charged === "no" ? "unknown" : outcome.charged;
  return { ...outcome, charged, stage: outcome.stage ?? "output" };
}

/** Nothing is there that makes images, unless the code says that it is the model that is missing. */
function withAddress(response: ProviderResponse, url: string, outcome: Refused): Refused {
  const isMissing = response.status === 404 || response.status === 405;
  const namesModel = /model|deployment/i.test(outcome.code ?? "");
  if (!isMissing || outcome.kind !== "invalid_request" || namesModel) return outcome;
  const asked = `${addressIn(url)} was answered with HTTP ${response.status}`;
  const message =
    outcome.message === `HTTP ${response.status}` ? asked : `${outcome.message} (${asked})`;
  return { ...outcome, message, field: outcome.field ?? "baseURL" };
}

/** Whatever a response that cannot be read says for itself, in a form that its adapter does not know. */
function withWords(response: ProviderResponse, outcome: Refused): Refused {
  if (outcome.kind !== "malformed_response") return outcome;
  const words = textIn(response.body, ["message", "msg", "info", "detail", "error"]);
  const given = textIn(response.body, ["code"]);
  const isSuccess = given === "0" || given === "200";
  const code = outcome.code ?? (isSuccess ? undefined : given);
  const isNew = words !== undefined && !outcome.message.includes(words);
  const said = isNew ? `${outcome.message}: ${words}` : outcome.message;
  const message = code === undefined || said.includes(code) ? said : `${said} (code ${code})`;
  return { ...outcome, message, code };
}

/** The first of these fields that says something, in a body or in its `error`. */
function textIn(body: unknown, names: readonly string[]): string | undefined {
  const error = fieldOf(body, "error");
  const values = names.flatMap((name) => [fieldOf(error, name), fieldOf(body, name)]);
  const isText = (each: unknown) =>
    typeof each === "number" || (typeof each === "string" && each !== "");
  const found = values.find(isText);
  return found === undefined ? undefined : String(found);
}

/**
 * A body may say in `error.charged` what became of the money. "no" is believed only of an endpoint
 * that the caller has declared to be their own (`trustCharged`): anybody else who says so may stand
 * between us and the provider, and not know.
 */
function withCharge(adapter: Adapter, response: ProviderResponse, outcome: Refused): Refused {
  switch (chargedIn(response.body)) {
    case "yes": {
      const kind = outcome.kind === "submission_unknown" ? "generation_failed" : outcome.kind;
      return { ...outcome, state: "failed", kind, charged: "yes", resend: "never" };
    }
    case "unknown":
      if (outcome.charged === "yes") return outcome;
      return {
        ...outcome,
        charged: "unknown",
        resend: outcome.resend === "wait" ? "keyed" : outcome.resend,
      };
    case "no": {
      if (adapter.trustsCharged !== true || outcome.charged === "no") return outcome;
      const kind = outcome.kind === "submission_unknown" ? "provider_unavailable" : outcome.kind;
      const resend = response.status === 503 && outcome.resend !== "never" ? "wait" : "never";
      return { ...outcome, kind, charged: "no", resend };
    }
    default:
      return outcome;
  }
}

/**
 * A stream begins under 200, before it is known how it will end. A picture that it showed was being made,
 * and moderation at a stage that nobody tells may be that of the picture: neither proves that nothing was
 * paid.
 */
function inStream({ status, events, partials = 0 }: ProviderResponse, outcome: Refused): Refused {
  const { kind, stage, charged, resend } = outcome;
  const isUntold = kind === "moderation" && stage === undefined && status < 300;
  if (partials === 0 && (events === undefined || !isUntold)) return outcome;
  return {
    ...outcome,
    charged: charged === "no" ? "unknown" : charged,
    resend: resend === "never" ? resend : "keyed",
  };
}

function chargedIn(body: unknown): unknown {
  return fieldOf(fieldOf(body, "error"), "charged");
}

/** A response that says not to retry is obeyed. */
function withShouldRetry(response: ProviderResponse, outcome: Refused): Refused {
  const isFinal = response.headers["x-should-retry"]?.trim().toLowerCase() === "false";
  return isFinal ? { ...outcome, resend: "never", transient: false } : outcome;
}

/** What a provider answered, read by its adapter. */
export interface Reading {
  readonly outcome: Outcome;
  readonly status: number;
  readonly requestId: string | undefined;
  /** The response without image bytes and without the key. */
  raw(): unknown;
  /** Images in a response that ends a task, or that cannot be understood: as received, or their URLs. */
  readonly images: readonly Output[];
}
