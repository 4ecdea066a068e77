import type {
  ClientJournal,
  CloseOptions,
  Cost,
  ImageClient,
  ImageError,
  ImageJob,
  ImageRequest,
  Journal,
  LedgerEntry,
  Operation,
} from "../../index";
import { isImageError } from "../../index";
import { Accounting } from "./accounting";
import { RouterCall, type RouterServices } from "./call";
import { capabilitiesOf } from "./capabilities";
import { Claims } from "./claims";
import { type Clock, systemClock } from "./clock";
import { accounted, heldByAny, recoverAll, resumeAt } from "./jobs";
import { KeyedCall } from "./keyed";
import { editing, generating, type Kind, submitting } from "./kinds";
import { beforeSettling, type ImageLedger, memoryLedger } from "./ledger";
import { isProviderClient, type Member, membersOf } from "./members";
import { Rates } from "./money";
import { checkCall, checkOptions, isEdit } from "./options";
import { noneCan, select } from "./selection";
import type { ImageRouter, ImageRouterOptions, RouteEvent, RouterCallOptions } from "./types";

/** What tests hold in their hands. */
export interface RouterPlatform {
  readonly clock: Clock;
  random(): number;
}

/**
 * Several clients as one. It goes on to the next where the one before said no and charged nothing, and
 * never after an order that may have been charged. Clients are the router's own from here on: `close`
 * closes them.
 *
 * @throws {@link InvalidRequestError} naming the option that is wrong.
 *
 * @example
 * ```ts
 * const router = createImageRouter({
 *   clients: [createImageClient({ provider: trinetra() }), createImageClient({ provider: openai() })],
 *   budget: [{ amount: 20, unit: "USD", per: "day" }],
 *   rates: { USD: 1, credits: 0.012 },
 * });
 * const { image, provider, warnings } = await router.generate({ prompt });
 * ```
 */
export function createImageRouter(options: ImageRouterOptions): ImageRouter {
  return routerOn(options, { clock: systemClock, random: Math.random });
}

/** The router of `createImageRouter`, over a clock that tests can hold. */
export function routerOn(options: ImageRouterOptions, platform: RouterPlatform): ImageRouter {
  checkOptions(options);
  const { journal, budget: budgets = [] } = options;
  const ledger = options.ledger ?? (budgets.length > 0 ? memoryLedger() : undefined);
  const closing = new AbortController();
  const services = servicesOf(options, platform, { ledger, closing: closing.signal });
  const { name, accounting, claims } = services;
  const { all } = services.members;
  if (ledger !== undefined) {
    beforeSettling(ledger, (entry, charged) => settleAt(entry, charged, all, claims));
  }

  const run = <Request extends ImageRequest, Value>(
    kind: Kind<Request, Value>,
    request: Request,
    operation: Operation,
    call: RouterCallOptions = {},
  ): Promise<Value> => {
    checkCall(call, journal);
    const routed = new RouterCall(services, kind, request, { operation, options: call });
    const { idempotencyKey } = call;
    if (idempotencyKey === undefined || claims === undefined) return routed.run();
    return new KeyedCall(routed, claims, idempotencyKey).run();
  };

  const shared = journalOf(journal, all);
  const close = async (given?: CloseOptions): Promise<void> => {
    closing.abort(new Error("the router was closed"));
    await Promise.all(all.map(({ client }) => client.close(given)));
  };

  return {
    name,
    capabilities: capabilitiesOf(all, journal !== undefined),
    ...(shared !== undefined && { journal: shared }),
    ...(ledger !== undefined && { ledger }),
    check: (request) => problemsOf(request, services),
    estimate: (request) => estimateOf(request, services),
    generate: async (request, call) => run(generating, request, "generate", call),
    edit: async (request, call) => run(editing, request, "edit", call),
    submit: async (request, call) =>
      run(submitting, request, isEdit(request) ? "edit" : "generate", call),
    resume: (reference) => accounted(resumeAt(reference, all, name), accounting),
    holds: (reference) => heldByAny(reference, all, name),
    recover: (given) => recoverAll(services, given),
    budgets: () => accounting.statuses(),
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}

/** What the calls of a router share. */
function servicesOf(
  options: ImageRouterOptions,
  { clock, random }: RouterPlatform,
  { ledger, closing }: { readonly ledger: ImageLedger | undefined; readonly closing: AbortSignal },
): RouterServices {
  const { journal, budget: budgets = [], name = "router", assume, sort, fallback } = options;
  const members = membersOf(options.clients, clock);
  const rates = new Rates(options.rates);
  const tell = tellerOf(options.onRoute);
  const accounting = new Accounting({
    ...{ store: ledger?.store, budgets, rates, clock, tell },
    margin: options.margin ?? 1,
    trustReported: options.trustReported ?? false,
  });
  const claims = journal && new Claims(journal, clock, name);
  const timeoutMs = options.timeoutMs ?? 600_000;
  return {
    ...{ name, members, sort, assume, rates, clock, accounting, claims, fallback, tell },
    ...{ random: () => random(), timeoutMs, closing },
  };
}

/** All that it keeps must be found by other machines: its claims, and the jobs of every client. */
function journalOf(
  journal: Journal | undefined,
  members: readonly Member[],
): ClientJournal | undefined {
  const all = [journal, ...members.map(({ client }) => client.journal)];
  if (all.includes(undefined)) return undefined;
  if (all.some((each) => each?.volatile)) return { shared: false, volatile: true };
  return { shared: all.every((each) => each?.shared === true) };
}

/** Every problem of a request that no client can do; none where one can. */
function problemsOf(request: ImageRequest, services: RouterServices): readonly ImageError[] {
  try {
    const { candidates, skipped } = select(request, services);
    return candidates.length > 0 ? [] : [noneCan(services.name, skipped)];
  } catch (error) {
    if (isImageError(error)) return [error];
    throw error;
  }
}

/** The list price of the first that can do it and has one. */
function estimateOf(request: ImageRequest, services: RouterServices): Cost | undefined {
  const { candidates, skipped } = select(request, services);
  if (candidates.length === 0) throw noneCan(services.name, skipped);
  for (const { member, request: own } of candidates) {
    const cost = member.client.estimate(own);
    if (cost !== undefined) return cost;
  }
  return undefined;
}

/** A person's word on an entry ends what the client's journal and the claims have of it. */
async function settleAt(
  entry: LedgerEntry,
  charged: "no" | "yes",
  members: readonly Member[],
  claims: Claims | undefined,
): Promise<void> {
  const { reference } = entry;
  const client = members.find(({ name }) => name === entry.client)?.client;
  if (reference !== undefined && client !== undefined) {
    await settleInJournal(client, reference, charged);
  }
  await claims?.settle(entry, charged);
}

async function settleInJournal(
  client: ImageClient,
  reference: ImageJob["reference"],
  charged: "no" | "yes",
): Promise<void> {
  if (!isProviderClient(client) || client.capabilities.keepsJournal !== true) return;
  try {
    await client.settle(reference, { charged });
  } catch (error) {
    // What has ended there already is settled; what may be on its way yet cannot be.
    const hasEnded = isImageError(error) && error.code === "invalid_request" && !error.retryable;
    if (!hasEnded) throw error;
  }
}

/** A listener's own errors are its own: they must not touch what was paid for. */
function tellerOf(listener: ImageRouterOptions["onRoute"]): (event: RouteEvent) => void {
  return (event) => {
    if (listener === undefined) return;
    try {
      Promise.resolve(listener(event)).catch(() => {});
    } catch {
      // As its documentation says.
    }
  };
}
