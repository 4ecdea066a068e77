import type { RefusalKind } from "./contract";

const emptyAccount =
  /insufficient\w{0,24}(quota|balance|credit|fund)|notenough(quota|balance|credit)|(quota|balance|credits?)(notenough|insufficient|exhausted|failed)|currentquota|billing(hardlimitreached|notactive)|spendlimitexceeded|arrears|paymentrequired/;
const refusedKey =
  /(invalid|incorrect|missing|expired|disabled)(api|access)?(key|token)(error)?$|^(apikey|token)(invalid|expired|disabled|missing)$|unauthenticated|unauthorized|authenticationerror/;
const moderation =
  /moderationblocked|contentpolicyviolation|contentfilter|responsibleaipolicyviolation|sensitivewords/;
const elsewhere = /country|territory/;
const neverThere =
  /missingrequired|(model|deployment|endpoint)(not(found|supported|exist)|doesnotexist|disabled|deprecated)|(unknown|invalid|unsupported|nosuch)(model|deployment|endpoint|parameter|value)/;

/**
 * What a code says by itself, whoever sends it: gateways write the same one in snake case, in camel
 * case and in capitals. `undefined` if it is unknown.
 */
export function meaningOfCode(code: string | undefined, status: number): RefusalKind | undefined {
  const word = code?.toLowerCase().replace(/[^a-z0-9]/g, "") ?? "";
  if (word === "") return undefined;
  if (moderation.test(word)) return "moderation";
  // Under 429 a quota may as well be one of requests a minute.
  if (emptyAccount.test(word) || (status === 403 && /quota|credit|balance|billing/.test(word))) {
    return "insufficient_credits";
  }
  if (elsewhere.test(word)) return "permission_denied";
  if (refusedKey.test(word)) return "authentication";
  if (neverThere.test(word)) return "invalid_request";
  return word === "ratelimitexceeded" ? "rate_limited" : undefined;
}
