import { join } from "node:path";
import {
  createImageClient,
  directoryJournal,
  type ImageClientOptions,
  type Journal,
  type ProviderImageClient,
} from "../../index";
import type { ImageLedger, ImageRouter } from "../router/index";
import { Marks } from "./marks";
import { makePrivate } from "./places";
import type { ChosenProvider } from "./providers";

/** Where the journal is in the state directory. */
export const journalAt = (state: string) => join(state, "journal");

/** Where the router writes down which provider has the order of a key. */
const claimsAt = (state: string) => join(state, "claims");

/** Where the ledger is in the state directory. */
export const ledgerAt = (state: string) => join(state, "ledger.jsonl");

/** What is kept of all orders. */
export interface Books {
  readonly journal: Journal;
  readonly ledger: ImageLedger;
  readonly marks: Marks;
}

/** A provider with its journal, and a router over it that keeps the ledger. */
export interface Shop extends Books {
  readonly client: ProviderImageClient;
  readonly router: ImageRouter;
}

/** Opens the journal and the ledger, which are made where they are not there. */
export async function openBooks(state: string): Promise<Books> {
  const { jsonLinesLedger } = await import("../router/index");
  makePrivate(state);
  for (const below of [journalAt(state), claimsAt(state)]) makePrivate(below);
  return {
    journal: directoryJournal(journalAt(state)),
    ledger: jsonLinesLedger(ledgerAt(state)),
    marks: new Marks(state),
  };
}

/** Opens the journal and the ledger, for one provider. */
export async function openShop(
  { provider, label }: Pick<ChosenProvider, "provider" | "label">,
  state: string,
  options: Pick<ImageClientOptions, "concurrency" | "timeoutMs" | "onUnsupported"> = {},
): Promise<Shop> {
  const { createImageRouter } = await import("../router/index");
  const books = await openBooks(state);
  const { journal, ledger } = books;
  const client = createImageClient({ provider, journal, ...options });
  const { timeoutMs } = options;
  const router = createImageRouter({
    ...{ name: provider.name, clients: [{ client, name: label }], ledger },
    // Not the jobs' own: claims would be listed among them.
    journal: directoryJournal(claimsAt(state)),
    ...(timeoutMs !== undefined && { timeoutMs }),
  });
  return { ...books, client, router };
}
