import * as z from "zod/mini";
import { once } from "../async/lazy";
import { InvalidRequestError } from "../errors";
import { isoDateTime } from "../parse/core-schemas";
import { shown } from "../parse/shown";
import { problemsOf } from "../request/problems";
import type { TaskState } from "../types/reference";
import type { JobStatus } from "../types/waiting";

const referenceSchema = once(() =>
  z.object({
    v: z.literal(1, "1, the version of a job's reference"),
    // It becomes a part of file names.
    id: z.string("the id of a job").check(z.regex(/^[\w-]+$/, "the id of a job")),
    provider: z.string("the name of a provider"),
    baseURL: z.string("the base URL of a provider"),
    operation: z.enum(["generate", "edit"], "generate or edit"),
    submittedAt: isoDateTime("a date in ISO 8601"),
    tasks: z
      .array(
        z.object({
          index: z.int("a whole number").check(z.minimum(0, "a whole number")),
          n: z
            .int("a whole number of at least 1")
            .check(z.minimum(1, "a whole number of at least 1")),
          id: z.optional(z.string("the id of a task").check(z.minLength(1, "the id of a task"))),
          key: z.optional(z.string("an idempotency key")),
          state: z.enum(
            [
              "waiting",
              "submitting",
              "queued",
              "running",
              "succeeded",
              "failed",
              "refused",
              "unknown",
            ],
            "a state of a task",
          ),
          cost: z.optional(
            z.object({
              amount: z.number(),
              unit: z.string(),
              basis: z.enum(["reported", "usage", "list"]),
            }),
          ),
        }),
        "a list of tasks",
      )
      .check(z.minLength(1, "at least one task")),
  }),
);

/** A reference that has been checked. */
export type ParsedReference = z.output<ReturnType<typeof referenceSchema>>;

/** Reads a reference that may come from anywhere: an object, a job, or its JSON as a string. */
export function parseReference(
  value: unknown,
  expected: { provider: string; baseURL: string },
): ParsedReference {
  const given = typeof value === "string" ? jsonOf(value) : value;
  const plain = isJob(given) ? given.reference : given;
  const parsed = referenceSchema().safeParse(plain);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const [problem] = issue === undefined ? [] : problemsOf(issue, plain, ["reference"]);
    const field = ["reference", ...(issue?.path ?? [])].join(".");
    const taken = issue?.path.length === 0 ? "the reference of a job, or its JSON" : problem?.taken;
    throw wrongReference(field, problem?.given ?? "another", taken ?? "another");
  }
  const { provider, baseURL } = parsed.data;
  if (provider !== expected.provider) {
    const taken = `"${expected.provider}", this client's`;
    throw wrongReference("reference.provider", shown("provider", provider), taken);
  }
  if (baseURL !== expected.baseURL) {
    const taken = `"${expected.baseURL}", this client's`;
    throw wrongReference("reference.baseURL", shown("baseURL", baseURL), taken);
  }
  return parsed.data;

  function wrongReference(field: string, shownValue: string, taken: string) {
    const facts = { charged: "no" as const, provider: expected.provider };
    return new InvalidRequestError({ ...facts, field, given: shownValue, taken });
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON: the schema names it.
    return text;
  }
}

function isJob(value: unknown): value is { reference: unknown } {
  return typeof value === "object" && value !== null && "reference" in value && "id" in value;
}

/** The state of a job from those of its tasks. */
export function jobState(states: readonly TaskState[]): JobStatus["state"] {
  if (states.includes("running")) return "running";
  if (states.some((state) => state === "waiting" || state === "submitting" || state === "queued")) {
    return "queued";
  }
  if (states.includes("succeeded")) return "succeeded";
  return states.includes("unknown") ? "unknown" : "failed";
}

/** Whether nothing can change a task any more. */
export function isSettled(state: TaskState): boolean {
  return state === "succeeded" || state === "failed" || state === "refused" || state === "unknown";
}
