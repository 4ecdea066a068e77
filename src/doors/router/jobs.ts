import {
  type ImageJob,
  type ImageResult,
  InvalidRequestError,
  isImageError,
  type JobReference,
  type RecoverOptions,
} from "../../index";
import type { Accounting } from "./accounting";
import type { RouterServices } from "./call";
import { isProviderClient, type Member } from "./members";
import { watched } from "./routed";
import { asImageError, withFailures } from "./rules";

/** A job that was taken up again, whose end goes into the ledger. */
export function accounted(
  job: ImageJob,
  accounting: Accounting,
  released?: () => Promise<void>,
): ImageJob {
  return watched(job, {
    ...(released !== undefined && { released }),
    async ended(end: { readonly result: ImageResult } | { readonly error: unknown }) {
      const order = await accounting.orderOf(job.reference, "result" in end);
      if ("result" in end) order.succeeded(end.result);
      else if (isImageError(end.error)) order.failed(end.error);
      await order.written();
    },
  });
}

/**
 * The job of a reference, at the client whose it is: by provider and base URL, and of several such
 * clients by the journal that has a record of it.
 *
 * @throws {@link InvalidRequestError} where it is no client's.
 */
export function resumeAt(reference: unknown, members: readonly Member[], router: string): ImageJob {
  const found: { readonly member: Member; readonly job: ImageJob }[] = [];
  const problems: unknown[] = [];
  for (const member of members) {
    try {
      found.push({ member, job: member.client.resume(reference) });
    } catch (problem) {
      problems.push(problem);
    }
  }
  const [first, ...others] = found;
  if (first === undefined) throw noClient(problems, router);
  if (others.length === 0) return first.job;
  return pending(first.job, () => ownerOf(found, first.job.reference, router));
}

function noClient(problems: readonly unknown[], router: string): unknown {
  const errors = problems.flatMap((problem) => asImageError(problem) ?? []);
  const [first] = errors;
  // What is wrong with the reference itself all of them say.
  if (first === undefined || errors.length < problems.length) return problems[0];
  if (new Set(errors.map(({ field }) => field)).size === 1 && !/\./.test(first.field ?? "")) {
    return first;
  }
  const [nearest = first] = errors.filter(({ field }) => field !== "reference.provider");
  if (errors.length === 1 || nearest.field !== "reference.provider") return nearest;
  return new InvalidRequestError({
    ...{ provider: router, charged: "no", field: "reference.provider", failures: errors },
    given: nearest instanceof InvalidRequestError ? nearest.given : undefined,
    taken: `that of a client of this router: ${errors.map(({ provider }) => provider).join(", ")}`,
  });
}

/** Of several clients of one provider, the one whose journal has the job. No key is tried. */
async function ownerOf(
  found: readonly { readonly member: Member; readonly job: ImageJob }[],
  reference: JobReference,
  router: string,
): Promise<ImageJob> {
  const owners: (typeof found)[number][] = [];
  for (const each of found) {
    const { client } = each.member;
    if (isProviderClient(client) && (await client.holds(reference))) owners.push(each);
  }
  const [owner, ...others] = owners;
  if (owner !== undefined && others.length === 0) return owner.job;
  const fitting = owners.length > 0 ? owners : found;
  const names = fitting.map(({ member }) => member.name).join(", ");
  throw new InvalidRequestError({
    ...{ provider: router, charged: "unknown", field: "reference" },
    given: `a job that may be that of ${names}`,
    taken: "one that a single client's journal has, or that client itself",
  });
}

/** A job whose client is looked for when it is first asked something. */
function pending(shown: ImageJob, find: () => Promise<ImageJob>): ImageJob {
  let finding: Promise<ImageJob> | undefined;
  const job = () => {
    finding ??= find().catch((error: unknown) => {
      // A journal that could not be read is asked again.
      finding = undefined;
      throw error;
    });
    return finding;
  };
  return {
    id: shown.id,
    provider: shown.provider,
    get reference() {
      return shown.reference;
    },
    toJSON: () => shown.toJSON(),
    status: async (options) => (await job()).status(options),
    result: async (options) => (await job()).result(options),
    release: async () => (await job()).release(),
    async *events(options) {
      yield* (await job()).events(options);
    },
  };
}

/**
 * Whether the journal of any client has a record of the job that is that client's own.
 *
 * @throws {@link InvalidRequestError} where the reference is no client's; what a journal throws that cannot
 * be read, where no other has it.
 */
export async function heldByAny(
  reference: unknown,
  members: readonly Member[],
  router: string,
): Promise<boolean> {
  const clients = members.flatMap(({ client }) => (isProviderClient(client) ? client : []));
  const problems: unknown[] = [];
  for (const client of clients) {
    try {
      if (await client.holds(reference)) return true;
    } catch (problem) {
      problems.push(problem);
    }
  }
  const unreadable = problems.find((each) => !(each instanceof InvalidRequestError));
  if (unreadable !== undefined) throw unreadable;
  if (clients.length > 0 && problems.length === clients.length) throw noClient(problems, router);
  return false;
}

const defaultRetentionMs = 30 * 24 * 60 * 60 * 1000;

/** The jobs that all clients' journals keep. What is released leaves the claims of its key, too. */
export async function* recoverAll(
  { members, accounting, claims }: Pick<RouterServices, "members" | "accounting" | "claims">,
  options: RecoverOptions | undefined,
): AsyncIterableIterator<ImageJob> {
  const keys = await claims?.clean(options?.retentionMs ?? defaultRetentionMs);
  for await (const job of jobsOf(members.all, options)) {
    const key = keys?.get(job.id);
    yield accounted(job, accounting, async () => {
      if (key !== undefined) await claims?.forget(key, job.id);
    });
  }
}

/** Each job once. The errors of clients that cannot be asked come last. */
async function* jobsOf(
  members: readonly Member[],
  options: RecoverOptions | undefined,
): AsyncIterableIterator<ImageJob> {
  const seen = new Set<string>();
  const errors: unknown[] = [];
  const kept = members.filter(({ client }) => client.capabilities.keepsJournal !== false);
  // Where nobody has a journal, a client says what is missing.
  for (const { client } of kept.length > 0 ? kept : members) {
    if (!isProviderClient(client)) continue;
    try {
      for await (const job of client.recover(options)) {
        // Records without an account belong to whoever asks first.
        if (!seen.has(job.id)) yield job;
        seen.add(job.id);
      }
    } catch (error) {
      errors.push(error);
    }
  }
  const [first, ...others] = errors;
  if (errors.length === 0) return;
  const known = asImageError(first);
  throw known === undefined
    ? first
    : withFailures(
        known,
        others.flatMap((each) => asImageError(each) ?? []),
      );
}
