import type { Succeeded } from "../adapter/contract";
import type { Reading } from "../api/read-response";
import type { AbortSignalLike } from "../async/clock";
import type { TaskServices } from "./services";

/** Asks the provider once how a job stands. Throws as {@link ProviderApi.exchange} does. */
export async function query(
  { id, n }: { readonly id: string; readonly n: number },
  { client }: TaskServices,
  signal: AbortSignalLike | undefined,
): Promise<Reading> {
  const { api, provider, attemptTimeoutMs: timeoutMs } = client;
  const { adapter } = provider;
  if (adapter.query === undefined) throw new TypeError(`${provider.name} has no query`);
  const request = await api.prepare(adapter.query(id));
  return api.exchange("query", request, { timeoutMs, signal, n });
}

/** Asks for the pictures of a job once more, whose URLs may be fresh ones. */
export async function freshOutputs(
  task: { readonly id: string | undefined; readonly n: number },
  services: TaskServices,
  signal: AbortSignalLike | undefined,
): Promise<Succeeded["outputs"] | undefined> {
  const { id, n } = task;
  if (id === undefined || services.client.provider.adapter.query === undefined) return undefined;
  const { outcome } = await query({ id, n }, services, signal);
  return outcome.state === "succeeded" ? outcome.outputs : undefined;
}
