import type { GatewayCaller, GatewayRefusal } from "./authorize";
import type { ErrorReporter } from "./error-reporter";
import { GatewayFault } from "./faults";

/** For whoever runs the gateway. */
const misconfigured =
  "`authorize` must give the name of the caller (a string, or { caller, tags } with tags of strings), a refusal ({ status, message }), or undefined";

/**
 * Who calls, as `authorize` has said it.
 *
 * @throws {@link GatewayFault} where it has said no, or nothing that can be understood.
 */
export function callerIn(said: unknown, reporter: ErrorReporter): GatewayCaller {
  if (typeof said === "string" && said !== "") return { caller: said };
  if (isCaller(said)) return said;
  const refusal = refusalOf(said);
  if (refusal.status === 500) reporter.report(new TypeError(misconfigured));
  throw refusal;
}

function refusalOf(said: unknown): GatewayFault {
  if (said === undefined || said === null || said === false || said === "") {
    const message = "The key of this gateway is missing or wrong.";
    return new GatewayFault(401, "invalid_api_key", message);
  }
  if (!isRefusal(said)) {
    const message =
      "The gateway is configured wrongly, and its operator was told. Nothing was ordered.";
    return new GatewayFault(500, "gateway_misconfigured", message);
  }
  const { status, message } = said;
  const code = status === 401 ? "invalid_api_key" : "refused";
  return new GatewayFault(status >= 400 && status < 500 ? status : 403, code, message);
}

function isCaller(said: unknown): said is GatewayCaller {
  if (typeof said !== "object" || said === null || !("caller" in said)) return false;
  const tags = "tags" in said ? (said.tags ?? {}) : {};
  const isTags = typeof tags === "object" && !Array.isArray(tags);
  const isName = typeof said.caller === "string" && said.caller !== "";
  return isName && isTags && Object.values(tags).every((each) => typeof each === "string");
}

function isRefusal(said: unknown): said is GatewayRefusal {
  if (typeof said !== "object" || said === null) return false;
  return (
    "status" in said &&
    typeof said.status === "number" &&
    "message" in said &&
    typeof said.message === "string"
  );
}
