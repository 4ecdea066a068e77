import type { ImageError, ImageResult, JobReference } from "../../index";
import type { ImageJobResult } from "./types";

/** What a job returns of its result: JSON. */
export function resultOf(result: ImageResult, files: readonly string[]): ImageJobResult {
  const { provider, model, cost, usage, job, warnings, failures, timing } = result;
  return {
    ...{ files, provider, jobId: job.id, warnings: [...warnings] },
    ...(model !== undefined && { model }),
    ...(cost !== undefined && { cost }),
    ...(usage !== undefined && { usage }),
    failures: failures.map(failureOf),
    durationMs: timing.durationMs,
  };
}

/** The same of pictures that came with an error, and that nobody can ask for again. */
export function rescuedResult(
  error: ImageError,
  reference: JobReference,
  files: readonly string[],
): ImageJobResult {
  const { id: jobId, provider, submittedAt } = reference;
  return {
    ...{ files, provider, jobId, warnings: [error.message] },
    ...(error.cost !== undefined && { cost: error.cost }),
    failures: [failureOf(error)],
    durationMs: Math.max(0, Date.now() - Date.parse(submittedAt)),
  };
}

/** Short: the job that it names is the one that returns it. */
function failureOf(error: ImageError): Record<string, unknown> {
  const { job: _, failures: __, ...facts } = error.toJSON();
  // What is undefined in it is not in JSON, and the queue gives back what it keeps.
  return JSON.parse(JSON.stringify(facts));
}
