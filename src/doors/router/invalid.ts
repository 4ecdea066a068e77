import { type Amount, type Charged, InvalidRequestError } from "../../index";

/** A wrong option, in the words of all others. */
export function invalid(
  field: string,
  given: unknown,
  taken: string,
  charged: Charged = "no",
): InvalidRequestError {
  return new InvalidRequestError({ charged, field, given: shown(given), taken });
}

function shown(value: unknown): string {
  if (typeof value === "string")
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === "function") return "a function";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

/** Checks a price, where there is one. */
export function checkAmount(field: string, given: Amount | undefined): void {
  if (given === undefined) return;
  if (typeof given !== "object" || given === null) {
    throw invalid(field, given, "an object with amount and unit");
  }
  if (!(Number.isFinite(given.amount) && given.amount >= 0)) {
    throw invalid(`${field}.amount`, given.amount, "a number of 0 or more");
  }
  if (typeof given.unit !== "string" || given.unit === "") {
    throw invalid(`${field}.unit`, given.unit, '"USD", "credits" or another unit');
  }
}
