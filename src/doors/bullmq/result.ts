import type { Cost, ImageError, ImageResult, JobReference } from "../../index";
import type { ImageJobResult } from "./types";
import { allOf, isUnkept } from "./verdict";

/** What a job returns of its result: JSON. Errors whose images were saved after all become warnings. */
export function resultOf(result: ImageResult, files: readonly string[]): ImageJobResult {
  const { provider, model, cost, usage, job, failures, timing } = result;
  const unkept = failures.filter(isUnkept);
  const total = totalOf([cost, ...unkept.map((each) => each.cost)]);
  return {
    ...{ files, provider, jobId: job.id },
    warnings: [...result.warnings, ...unkept.map(({ message }) => message)],
    ...(model !== undefined && { model }),
    ...(total !== undefined && { cost: total }),
    ...(usage !== undefined && { usage }),
    failures: failures.filter((each) => !isUnkept(each)).map(failureOf),
    durationMs: timing.durationMs,
  };
}

/** The same of images that came with an error, and that nobody can ask for again. */
export function rescuedResult(
  error: ImageError,
  reference: JobReference,
  files: readonly string[],
): ImageJobResult {
  const { id: jobId, provider, submittedAt } = reference;
  const errors = allOf(error);
  const unkept = errors.filter(isUnkept);
  const cost = totalOf(unkept.map((each) => each.cost));
  return {
    ...{ files, provider, jobId, warnings: unkept.map(({ message }) => message) },
    ...(cost !== undefined && { cost }),
    failures: errors.filter((each) => !isUnkept(each)).map(failureOf),
    durationMs: Math.max(0, Date.now() - Date.parse(submittedAt)),
  };
}

/** Known only where every cost is, and all are of one kind. */
function totalOf(costs: readonly (Cost | undefined)[]): Cost | undefined {
  const [first, ...others] = costs;
  if (first === undefined) return undefined;
  let { amount } = first;
  for (const cost of others) {
    if (cost?.unit !== first.unit || cost.basis !== first.basis) return undefined;
    amount += cost.amount;
  }
  return { ...first, amount: Number(amount.toPrecision(12)) };
}

/** Short: the job that it names is the one that returns it. */
export function failureOf(error: ImageError): Record<string, unknown> {
  const { job: _, failures: __, ...facts } = error.toJSON();
  // What is undefined in it is not in JSON, and the queue gives back what it keeps.
  return JSON.parse(JSON.stringify(facts));
}
