import { join } from "node:path";
import {
  createImageClient,
  directoryJournal,
  type ImageClientOptions,
  type Journal,
  type ProviderImageClient,
} from "../../index";
import type { ImageLedger, ImageRouter, RouteEvent } from "../router/index";
import { makePrivate } from "./places";
import type { ChosenProvider } from "./providers";
import { Receipts } from "./receipts";

/** Where the journal is in the state directory. */
export const journalAt = (state: string) => join(state, "journal");

/** Where the router writes down which provider has the order of a key. */
const claimsAt = (state: string) => join(state, "claims");

/** Where the ledger is in the state directory. */
export const ledgerAt = (state: string) => join(state, "ledger.jsonl");

/** What is kept of all orders. */
export interface Records {
  readonly journal: Journal;
  readonly ledger: ImageLedger;
  readonly receipts: Receipts;
}

/** A provider with its journal, and a router over it that keeps the ledger. */
export interface Workspace extends Records {
  readonly client: ProviderImageClient;
  readonly router: ImageRouter;
  /** Who hears what the router does by itself, such as waiting for a provider that is out of reach. */
  readonly hearers: Set<(event: RouteEvent) => void>;
}

/** Opens the journal and the ledger, which are made where they are not there. */
export async function openRecords(state: string): Promise<Records> {
  const { jsonLinesLedger } = await import("../router/index");
  makePrivate(state);
  for (const below of [journalAt(state), claimsAt(state)]) makePrivate(below);
  return {
    journal: directoryJournal(journalAt(state)),
    ledger: jsonLinesLedger(ledgerAt(state)),
    receipts: new Receipts(state),
  };
}

/** How providers are asked. */
export type WorkspaceOptions = Pick<
  ImageClientOptions,
  "account" | "concurrency" | "timeoutMs" | "onUnsupported"
>;

/** Opens the journal and the ledger, for one provider. */
export async function openWorkspace(
  chosen: Pick<ChosenProvider, "provider" | "label">,
  state: string,
  options: WorkspaceOptions = {},
): Promise<Workspace> {
  const { client, ...workspace } = await openWorkspaces([chosen], state, options);
  if (client === undefined) throw new Error("A workspace has a provider");
  return { ...workspace, client };
}

/** The same for several: one router over all of them. */
export async function openWorkspaces(
  chosen: readonly Pick<ChosenProvider, "provider" | "label">[],
  state: string,
  options: WorkspaceOptions = {},
): Promise<Omit<Workspace, "client"> & { readonly client: ProviderImageClient | undefined }> {
  const { createImageRouter } = await import("../router/index");
  const records = await openRecords(state);
  const { journal, ledger } = records;
  const clients = chosen.map(({ provider, label }) => ({
    client: createImageClient({ provider, journal, ...options }),
    name: label,
  }));
  const hearers = new Set<(event: RouteEvent) => void>();
  const { timeoutMs } = options;
  const router = createImageRouter({
    ...{ name: chosen.map(({ label }) => label).join(", "), clients, ledger },
    // Not the jobs' own: claims would be listed among them.
    journal: directoryJournal(claimsAt(state)),
    onRoute: (event) => {
      for (const hear of hearers) hear(event);
    },
    ...(timeoutMs !== undefined && { timeoutMs }),
  });
  return { ...records, client: clients[0]?.client, router, hearers };
}
