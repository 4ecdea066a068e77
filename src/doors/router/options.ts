import type { ImageRequest, Journal } from "../../index";
import { checkAmount, invalid } from "./invalid";
import type { Budget, ImageRouterOptions, RouterCallOptions } from "./types";

const optionNames: Readonly<Record<keyof ImageRouterOptions, true>> = {
  clients: true,
  name: true,
  sort: true,
  fallback: true,
  journal: true,
  timeoutMs: true,
  budget: true,
  ledger: true,
  rates: true,
  margin: true,
  assume: true,
  trustReported: true,
  onRoute: true,
};

const pers: readonly string[] = ["hour", "day", "month", "forever"] satisfies Budget["per"][];

/** Checks what a router is made of, save its clients. */
export function checkOptions(given: ImageRouterOptions): void {
  if (typeof given !== "object" || given === null) {
    throw invalid("options", given, "an object with clients");
  }
  const stray = Object.keys(given).find((name) => !Object.hasOwn(optionNames, name));
  if (stray !== undefined) {
    throw invalid(`options.${stray}`, "it", `one of ${Object.keys(optionNames).join(", ")}`);
  }
  const { name, sort, timeoutMs, margin, journal, ledger, trustReported, assume, rates } = given;
  if (name !== undefined && (typeof name !== "string" || name === "")) {
    throw invalid("options.name", name, "a name");
  }
  if (sort !== undefined && sort !== "order" && sort !== "price" && typeof sort !== "function") {
    throw invalid("options.sort", sort, '"order", "price" or a function');
  }
  for (const each of ["fallback", "onRoute"] as const) {
    if (given[each] !== undefined && typeof given[each] !== "function") {
      throw invalid(`options.${each}`, given[each], "a function");
    }
  }
  checkTimeout(timeoutMs);
  if (margin !== undefined && !(Number.isFinite(margin) && margin >= 1)) {
    throw invalid("options.margin", margin, "a number of at least 1");
  }
  if (trustReported !== undefined && typeof trustReported !== "boolean") {
    throw invalid("options.trustReported", trustReported, "true or false");
  }
  if (journal !== undefined && !isJournal(journal)) {
    throw invalid("options.journal", journal, "a journal such as directoryJournal(path)");
  }
  if (ledger !== undefined && !(typeof ledger === "object" && "store" in ledger)) {
    throw invalid("options.ledger", ledger, "a ledger such as memoryLedger()");
  }
  checkAmount("options.assume", assume);
  for (const [unit, rate] of Object.entries(rates ?? {})) {
    if (!(Number.isFinite(rate) && rate > 0)) {
      throw invalid(`options.rates.${unit}`, rate, "what one is worth, more than 0");
    }
  }
  checkBudgets(given.budget ?? []);
}

function checkBudgets(budgets: readonly Budget[]): void {
  if (!Array.isArray(budgets)) throw invalid("options.budget", budgets, "a list of budgets");
  budgets.forEach((budget: Budget, index) => {
    const field = `options.budget[${index}]`;
    checkAmount(field, budget);
    if (!pers.includes(budget.per)) {
      throw invalid(`${field}.per`, budget.per, pers.map((each) => `"${each}"`).join(", "));
    }
    checkTags(`${field}.tags`, budget.tags);
  });
}

function checkTags(field: string, tags: unknown): void {
  if (tags === undefined) return;
  if (typeof tags !== "object" || tags === null || Array.isArray(tags)) {
    throw invalid(field, tags, "an object of strings");
  }
  for (const [name, value] of Object.entries(tags)) {
    if (typeof value !== "string") throw invalid(`${field}.${name}`, value, "a string");
  }
}

/** Checks what the router itself reads of a call; what its clients read is checked by them. */
export function checkCall(call: RouterCallOptions, journal: Journal | undefined): void {
  if (typeof call !== "object" || call === null) {
    throw invalid("options", call, "an object of options");
  }
  const { idempotencyKey, onUnknown, timeoutMs, signal } = call;
  if (onUnknown !== undefined && onUnknown !== "buy-again") {
    throw invalid("options.onUnknown", onUnknown, '"buy-again"');
  }
  checkTags("options.tags", call.tags);
  checkTimeout(timeoutMs);
  if (signal !== undefined && !(typeof signal === "object" && "aborted" in signal)) {
    throw invalid("options.signal", signal, "an AbortSignal");
  }
  for (const each of ["onSubmitted", "onEvent"] as const) {
    if (call[each] !== undefined && typeof call[each] !== "function") {
      throw invalid(`options.${each}`, call[each], "a function");
    }
  }
  if (idempotencyKey === undefined) return;
  if (typeof idempotencyKey !== "string" || idempotencyKey === "") {
    throw invalid("options.idempotencyKey", idempotencyKey, "a string that is not empty");
  }
  if (journal === undefined) {
    const taken = "a router with a `journal`, where it is written down which client has the order";
    throw invalid("options.idempotencyKey", "a key", taken);
  }
}

function checkTimeout(timeoutMs: unknown): void {
  if (timeoutMs === undefined) return;
  if (typeof timeoutMs === "number" && timeoutMs > 0) return;
  throw invalid("options.timeoutMs", timeoutMs, "milliseconds, more than 0");
}

function isJournal(value: unknown): value is Journal {
  return typeof value === "object" && value !== null && "create" in value && "read" in value;
}

/** Whether a request is an edit. */
export function isEdit(request: ImageRequest): boolean {
  return typeof request === "object" && request !== null && request.images !== undefined;
}
