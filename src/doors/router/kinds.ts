import type {
  CallOptions,
  EditRequest,
  GenerateRequest,
  ImageClient,
  ImageJob,
  ImageRequest,
  ImageResult,
  WaitCallOptions,
} from "../../index";
import { isOver } from "./claim-ends";
import type { Order } from "./order";
import { type JobWatch, watched, withWarnings } from "./routed";

/** What `generate`, `edit` and `submit` differ in. */
export interface Kind<Request extends ImageRequest, Value> {
  send(client: ImageClient, request: Request, options: CallOptions): Promise<Value>;
  /** What it means for the order that this came. */
  settle(value: Value, order: Order): void;
  jobOf(value: Value): ImageJob;
  /** Whether nothing of it runs any more. */
  isOver(value: Value): boolean;
  /** What the caller is given. */
  finish(value: Value, warnings: readonly string[], watch: JobWatch): Value;
  /** The same of a job that another call has ordered. */
  follow(job: ImageJob, options: WaitCallOptions): Promise<Value>;
}

/** Kinds that wait for the pictures. */
function resultKind<Request extends ImageRequest>(
  send: Kind<Request, ImageResult>["send"],
): Kind<Request, ImageResult> {
  return {
    send,
    settle: (result, order) => order.succeeded(result),
    jobOf: ({ job }) => job,
    isOver: () => true,
    finish: (result, warnings, watch) => withWarnings(result, warnings, watched(result.job, watch)),
    follow: (job, options) => job.result(options),
  };
}

export const generating = resultKind<GenerateRequest>((client, request, options) =>
  client.generate(request, options),
);

export const editing = resultKind<EditRequest>((client, request, options) =>
  client.edit(request, options),
);

export const submitting: Kind<ImageRequest, ImageJob> = {
  send: (client, request, options) => client.submit(request, options),
  settle: (_, order) => order.submitted(),
  jobOf: (job) => job,
  isOver: ({ reference }) => isOver(reference),
  finish: (job, _, watch) => watched(job, watch),
  follow: async (job) => job,
};
