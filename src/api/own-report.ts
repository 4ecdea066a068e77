import type { Outcome } from "../adapter/contract";
import type { Cost } from "../cost";
import { fieldOf } from "./field-of";

/**
 * An outcome with what an endpoint of the caller's own says of it beside its images or in its error, as our
 * gateway does: what it cost, and what was not as it was asked. A stranger's word would be no more than that.
 */
export function withReport(body: unknown, outcome: Outcome): Outcome {
  switch (outcome.state) {
    case "succeeded": {
      const { cost = outcome.cost, warnings = outcome.warnings } = reportIn(body);
      return { ...outcome, cost, warnings };
    }
    case "refused":
    case "failed": {
      const { cost = outcome.cost } = reportIn(fieldOf(body, "error"));
      return { ...outcome, cost };
    }
    default:
      return outcome;
  }
}

interface Report {
  readonly cost?: Cost;
  readonly warnings?: readonly string[];
}

function reportIn(value: unknown): Report {
  const cost = costIn(fieldOf(value, "cost"));
  const given = fieldOf(value, "warnings");
  const warnings = Array.isArray(given) ? given.filter((each) => typeof each === "string") : [];
  return {
    ...(cost !== undefined && { cost }),
    ...(warnings.length > 0 && { warnings }),
  };
}

function costIn(value: unknown): Cost | undefined {
  const amount = fieldOf(value, "amount");
  const unit = fieldOf(value, "unit");
  const basis = fieldOf(value, "basis");
  if (typeof amount !== "number" || !(amount >= 0) || typeof unit !== "string" || unit === "") {
    return undefined;
  }
  return { amount, unit, basis: basis === "usage" || basis === "list" ? basis : "reported" };
}
