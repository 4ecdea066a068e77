import * as z from "zod/mini";
import { once } from "../async/lazy";
import type { Outcome, Phase, ProviderResponse } from "./contract";
import { lenient, textOrNumber } from "./reading";
import { isUncertain, kindOfStatus, moderated, readStatus, unreadable } from "./refusals";

/** Who answers in OpenAI's form. */
export interface OpenAIEndpoint {
  /** OpenAI itself, at its own origin: over TLS no intermediary can write its error object. */
  readonly isOpenAI: boolean;
  /** Statuses that it answers, by the caller's word, only to a create that it has not begun. */
  readonly refusalStatuses: readonly number[];
}

/** Whether a base URL is OpenAI's own. */
export function isOpenAIOrigin(baseURL: string): boolean {
  return URL.canParse(baseURL) && new URL(baseURL).origin === "https://api.openai.com";
}

const documentedModeration = /^(moderation_blocked|content_policy_violation)$/;

/** OpenAI's other documented codes. One of all of them is a refusal even under HTTP 200. */
const documented =
  /^(insufficient_quota|billing_(hard_limit_reached|not_active)|\w+_spend_limit_exceeded|invalid_api_key|unsupported_country_region_territory|rate_limit_exceeded|model_not_found|invalid_value|unknown_parameter)$/;

const errorBody = once(() => {
  const word = z.string().check(z.minLength(1));
  const text = lenient(word);
  const code = lenient(z.pipe(textOrNumber, word));
  // Azure's content filter says what it is one level down, under either name.
  const inner = lenient(z.looseObject({ code: text }));
  return z.looseObject({
    success: lenient(z.boolean()),
    code,
    message: text,
    msg: text,
    detail: text,
    error: lenient(
      z.union([
        word,
        z.looseObject({
          message: text,
          type: text,
          code,
          moderation_details: lenient(
            z.looseObject({ moderation_stage: text, categories: lenient(z.array(z.string())) }),
          ),
          innererror: inner,
          inner_error: inner,
        }),
      ]),
    ),
  });
});

type ErrorBody = z.output<ReturnType<typeof errorBody>>;
type ErrorObject = Exclude<ErrorBody["error"], string>;

/**
 * Reads a response without images in the form of OpenAI and its kin: Azure, and gateways that put a
 * number or a word of their own in the body. `undefined` where it is no error.
 */
export function readOpenAIError(
  phase: Phase,
  response: ProviderResponse,
  endpoint: OpenAIEndpoint,
): Outcome | undefined {
  const { status } = response;
  const body = errorBody().safeParse(response.body).data;
  if (body === undefined) {
    return status < 300
      ? unreadable(phase, "It is not the JSON that the page describes")
      : readStatus(phase, response, undefined, endpoint.refusalStatuses);
  }
  const saysNo = body.success === false || Number(body.code ?? 200) >= 300;
  if (status < 300 && !saysNo && !saysError(body.error)) return undefined;

  const error = typeof body.error === "object" ? body.error : undefined;
  // A type is broader than a code, and speaks only where there is none but a number.
  const named = /\D/.test(error?.code ?? "") ? error?.code : (error?.type ?? error?.code);
  const isDocumentedModeration = documentedModeration.test(named ?? "");
  const isDocumented = isDocumentedModeration || documented.test(named ?? "");
  const ownCode = isDocumented ? named : (error?.code ?? body.code ?? named);
  const said = typeof body.error === "string" ? body.error : error?.message;
  const shown = status >= 300 || ownCode === undefined ? `HTTP ${status}` : `code ${ownCode}`;
  const message = said ?? body.message ?? body.msg ?? body.detail ?? shown;
  const facts = { message, code: ownCode };
  // Under 502 the same words would be no refusal: a gateway may say so of a create that went through.
  const isRefusal = status < 300 ? isDocumented : !isUncertain(status);

  if (isDocumented ? isDocumentedModeration : saysModerated(status, error, message)) {
    if (isRefusal || status < 300) {
      const { moderation_stage: stage, categories } = error?.moderation_details ?? {};
      const isFree = endpoint.isOpenAI && isDocumentedModeration;
      const refused = moderated({ ...facts, stage, categories }, isFree);
      return isRefusal ? refused : { ...refused, charged: "unknown" };
    }
  }
  if (status < 300) {
    const number = Number(ownCode);
    const byNumber = isUncertain(number) ? "submission_unknown" : kindOfStatus(number);
    const kind = number >= 300 && number < 600 ? byNumber : "generation_failed";
    const charged = isRefusal ? "no" : "unknown";
    return { state: "refused", kind, charged, resend: "never", ...facts };
  }
  const isTheirs = error?.message !== undefined && (error.type ?? error.code) !== undefined;
  const refusalStatuses =
    endpoint.isOpenAI && isTheirs ? [...endpoint.refusalStatuses, 503] : endpoint.refusalStatuses;
  return readStatus(phase, response, facts, refusalStatuses);
}

/** Some write an empty error beside the images. */
function saysError(error: ErrorBody["error"]): boolean {
  if (typeof error !== "object") return error !== undefined;
  return Object.values(error).some((each) => (each ?? "") !== "");
}

/** Moderation without a documented code; one that others use is read by the client. */
function saysModerated(status: number, error: ErrorObject, message: string): boolean {
  if (error?.moderation_details !== undefined) return true;
  if (/^ResponsibleAI/i.test((error?.innererror ?? error?.inner_error)?.code ?? "")) return true;
  if (status >= 300 && ![400, 403, 422].includes(status)) return false;
  // Azure gives this type to a parameter that is wrong, too: then a code stands beside it.
  const hasBareType = error?.code === undefined && error?.type === "image_generation_user_error";
  return hasBareType || /safety system/i.test(message);
}
