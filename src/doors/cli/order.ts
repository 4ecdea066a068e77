import {
  type CallOptions,
  type Charged,
  type ImageError,
  type ImageEvent,
  type ImageRequest,
  type ImageResult,
  isImageError,
  type JobReference,
  type Journal,
} from "../../index";
import type { RouteEvent } from "../router/index";
import { type DeliveredPicture, type Delivery, deliver } from "./delivery";
import { exitCodes } from "./exit-codes";
import { closing, type Interruption } from "./interruption";
import { findJobs } from "./kept-jobs";
import { Progress } from "./progress";
import type { Target, UserFiles } from "./save";
import type { Shell } from "./shell";
import { Tally } from "./tally";
import { count, jsonOf, reasonOf } from "./text";
import { expectedMsOf } from "./usual-time";
import type { Workspace } from "./workspace";

/** How results are told: by paths, in one document, or by a line of JSON for each event. */
export type Telling = "paths" | "document" | "events";

/** An order, ready to be sent. */
export interface OrderPlan {
  readonly shell: Shell;
  readonly workspace: Workspace;
  /** What the ledger calls the provider. */
  readonly label: string;
  readonly request: ImageRequest;
  readonly files: UserFiles;
  readonly target: Target;
  readonly telling: Telling;
  readonly interruption: Interruption;
}

/** What became of an order, or of a job that was resumed. */
export interface OrderEnd {
  readonly exitCode: number;
  readonly job?: { readonly id: string; readonly reference?: JobReference } | undefined;
  readonly result?: ImageResult | undefined;
  readonly error?: unknown;
  readonly pictures: readonly DeliveredPicture[];
}

/** Sends an order, waits for its pictures and writes them. Ctrl-C ends the waiting, and loses nothing. */
export async function place(plan: OrderPlan): Promise<OrderEnd> {
  const { workspace, label, request } = plan;
  const watch = watching(plan, await expectedMsOf(workspace.ledger, label, request));
  try {
    return await follow(plan, watch, (onEvent) => send(workspace, request, { onEvent }));
  } finally {
    watch.end();
  }
}

/** Sends a request by the operation that it is. */
export function send(
  { router }: Pick<Workspace, "router">,
  request: ImageRequest,
  options: CallOptions,
): Promise<ImageResult> {
  return request.images === undefined
    ? router.generate(request, options)
    : router.edit(request, options);
}

/** What is shown of orders that are under way, and what Ctrl-C does to them. */
export interface Watch {
  readonly progress: Progress;
  /** Resolves when what Ctrl-C has ended is over: a create on its way is still read. */
  ended(): Promise<unknown>;
  /** Nothing is under way any more. */
  end(): void;
}

/** Begins to show what is under way. */
export function watching(
  plan: Pick<OrderPlan, "shell" | "workspace" | "label" | "interruption">,
  expectedMs?: number | undefined,
): Watch {
  const { shell, workspace, label } = plan;
  const progress = new Progress(shell, { provider: label, expectedMs });
  const hear = (event: RouteEvent) => progress.onRoute(event);
  workspace.hearers.add(hear);
  const { ended } = stopOnSignals(plan);
  const end = () => {
    workspace.hearers.delete(hear);
    progress.end();
  };
  return { progress, ended, end };
}

/** What is to be followed: an order, or a job that was resumed. */
export type Followed = Omit<OrderPlan, "request"> & {
  readonly request: Pick<ImageRequest, "n">;
};

/** Waits for one that is under way, and writes what comes of it. */
export async function follow(
  plan: Followed,
  watch: Watch,
  sending: (onEvent: (event: ImageEvent) => void) => Promise<ImageResult>,
): Promise<OrderEnd> {
  const { shell, telling } = plan;
  const tally = new Tally();
  tally.want(plan.request.n ?? 1);
  const delivery: Delivery = { ...plan, tally, printsPaths: telling === "paths" };
  try {
    const result = await sending((event) => {
      watch.progress.onEvent(event);
      if (telling === "events") shell.print(jsonOf(event)).catch(() => {});
    });
    const { job } = result;
    losePaidFor(result, delivery);
    const came = await deliver(result.images, job.id, delivery);
    for (const warning of result.warnings) shell.warn(warning);
    const pictures = [...came, ...(await rescue(result.failures, plan, delivery))];
    const { exitCode } = tally;
    if (hasAll(exitCode)) await noteDelivered(plan, job.id, pictures);
    return { exitCode, job, result, pictures };
  } catch (error) {
    // The journal learns the job of what was on its way.
    await watch.ended().catch((cause: unknown) => shell.warn(reasonOf(cause)));
    if (!isImageError(error)) {
      // From code of our own: nobody knows how far it came.
      tally.fail(error);
      shell.complain(reasonOf(error));
      return { exitCode: tally.exitCode, error, pictures: [] };
    }
    const pictures = await rescue([error, ...error.failures], plan, delivery);
    return { exitCode: tally.exitCode, job: error.job, error, pictures };
  }
}

/** Says where a request that was paid for gave fewer pictures than it asked for. */
function losePaidFor({ job, images, failures }: ImageResult, { shell, tally }: Delivery): void {
  const paid = job.reference.tasks.filter(({ state }) => state === "succeeded");
  const wanted = paid.reduce((sum, { n }) => sum + n, 0);
  // Pictures that the journal could not keep come with the failure that says so.
  const came = images.length + failures.flatMap((each) => each.images ?? []).length;
  if (came >= wanted) return;
  tally.lose("yes");
  shell.complain(shortOf(wanted, came));
}

/** What is said of a request that was paid for and gave too few pictures. */
export function shortOf(wanted: number, came: number): string {
  return `${count(wanted, "picture")} were paid for, and the provider gave ${came}.`;
}

/**
 * What went wrong, and the pictures that came all the same: a journal whose disk is full keeps none, and
 * the error has what was paid for.
 */
async function rescue(
  errors: readonly ImageError[],
  { workspace }: Pick<OrderPlan, "workspace">,
  delivery: Delivery,
): Promise<readonly DeliveredPicture[]> {
  const { shell, tally } = delivery;
  const rescued: DeliveredPicture[] = [];
  for (const error of errors) {
    const { images = [] } = error;
    const charged = await chargedNow(error, workspace.journal);
    shell.complain(error.code === "client_closed" ? stopped[charged] : reasonOf(error));
    const isWhole = error.code === "journal_failed" && images.length > 0;
    if (!isWhole) tally.lose(charged);
    if (images.length === 0) continue;
    // Of a picture that ends early, what there is: it counts as none.
    const counting = isWhole ? tally : new Tally();
    const job = error.job?.id ?? "picture";
    rescued.push(...(await deliver(images, job, { ...delivery, tally: counting })));
  }
  return rescued;
}

/** What the client calls being closed was a Ctrl-C. */
const stopped: Readonly<Record<Charged, string>> = {
  no: "Stopped. Nothing was charged.",
  unknown: "Stopped while the provider is at it. It may be charged.",
  yes: "Stopped. It was charged.",
};

/**
 * Whether what went wrong was charged. Who was stopped by Ctrl-C has not heard how it ended: the journal has,
 * where the response to the create came in meanwhile.
 */
async function chargedNow(error: ImageError, journal: Journal): Promise<Charged> {
  const { job, charged, code } = error;
  if (code !== "client_closed" || charged !== "unknown" || job === undefined) return charged;
  try {
    const [kept] = await findJobs(journal, job.id);
    return kept?.charged ?? charged;
  } catch {
    // A journal that cannot be read knows no better than the error.
    return charged;
  }
}

/** Whether nothing more is to be had of a job: all came, or what did not was not charged. */
export function hasAll(exitCode: number): boolean {
  return exitCode === exitCodes.allCame || exitCode === exitCodes.partial;
}

/** Writes down that a job has been delivered, so that `recover` leaves it alone. */
export async function noteDelivered(
  { shell, workspace }: { readonly shell: Shell; readonly workspace: Pick<Workspace, "receipts"> },
  job: string,
  pictures: readonly DeliveredPicture[],
): Promise<void> {
  const files = pictures.flatMap(({ path }) => path ?? []);
  await workspace.receipts.note(job, job, files).catch((error: unknown) => {
    shell.warn(`It could not be noted that this was delivered: ${reasonOf(error)}`);
  });
}

/** What Ctrl-C does while an order is under way. */
function stopOnSignals({
  shell,
  workspace,
  interruption,
}: Pick<OrderPlan, "shell" | "workspace" | "interruption">) {
  let closed: Promise<unknown> = Promise.resolve();
  const close = (timeoutMs: number) => {
    closed = Promise.all([closed, workspace.router.close({ timeoutMs })]);
  };
  const say = {
    first: () =>
      shell.say(
        workspace.client.capabilities.resumable
          ? "Stopping. What the provider has accepted goes on there."
          : "What was sent is being paid for: waiting for its picture. Ctrl-C again gives it up.",
      ),
    second: () => shell.say("Giving up what is on its way: it may have been charged."),
  };
  interruption.guard(closing(close, say));
  return { ended: () => closed };
}
