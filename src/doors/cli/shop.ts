import { join } from "node:path";
import {
  createImageClient,
  directoryJournal,
  type ImageClientOptions,
  type Journal,
  type ProviderImageClient,
} from "../../index";
import type { ImageLedger, ImageRouter } from "../router/index";
import { makePrivate } from "./places";
import type { ChosenProvider } from "./providers";

/** Where the journal is in the state directory. */
export const journalAt = (state: string) => join(state, "journal");

/** Where the ledger is in the state directory. */
export const ledgerAt = (state: string) => join(state, "ledger.jsonl");

/** A provider with its journal, and a router over it that keeps the ledger. */
export interface Shop {
  readonly client: ProviderImageClient;
  readonly router: ImageRouter;
  readonly journal: Journal;
  readonly ledger: ImageLedger;
}

/** Opens the journal and the ledger, for one provider. */
export async function openShop(
  { provider, label }: Pick<ChosenProvider, "provider" | "label">,
  state: string,
  options: Pick<ImageClientOptions, "concurrency" | "timeoutMs" | "onUnsupported"> = {},
): Promise<Shop> {
  const { createImageRouter, jsonLinesLedger } = await import("../router/index");
  makePrivate(state);
  makePrivate(journalAt(state));
  const journal = directoryJournal(journalAt(state));
  const ledger = jsonLinesLedger(ledgerAt(state));
  const client = createImageClient({ provider, journal, ...options });
  const { timeoutMs } = options;
  const router = createImageRouter({
    ...{ name: provider.name, clients: [{ client, name: label }], journal, ledger },
    ...(timeoutMs !== undefined && { timeoutMs }),
  });
  return { client, router, journal, ledger };
}
