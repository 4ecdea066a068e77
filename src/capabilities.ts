import type { BoundOperation, InputRule } from "./adapter/contract";
import type { Provider } from "./adapter/provider";

/** What one operation of a provider takes. */
export interface OperationCapabilities {
  /** The portable fields that are taken, beside `n` and the inputs. */
  readonly fields: readonly string[];
  /** How many images one native request yields; a larger `n` is split into tasks. */
  readonly maxImagesPerTask: number;
  /** For an edit: what is taken of images. */
  readonly inputs?: InputRule;
}

/** What a client's provider can do. */
export interface Capabilities {
  /** Whether a job can be resumed; false where the response to the create is the image itself. */
  readonly resumable: boolean;
  /** Whether the provider honours an idempotency key. */
  readonly idempotent: boolean;
  /** Whether the client has a journal: the same `idempotencyKey` then gives the same job at any provider. */
  readonly keepsJournal?: boolean;
  /** Under which names it reads its entry of `providerOptions`; absent: under its own alone. */
  readonly providerOptions?: readonly string[];
  /** What `generate` takes. */
  readonly generate: OperationCapabilities;
  /** Absent where the provider cannot edit. */
  readonly edit?: OperationCapabilities;
}

/** What a client's provider can do, from its description. */
export function capabilitiesOf({ name, adapter }: Provider, keepsJournal: boolean): Capabilities {
  const { generate, edit } = adapter.operations;
  return {
    resumable: adapter.answersWith === "job" && adapter.query !== undefined,
    idempotent: adapter.idempotent,
    keepsJournal,
    providerOptions: [...new Set([name, adapter.optionsName ?? name])],
    generate: operationCapabilities(generate),
    ...(edit !== undefined && { edit: operationCapabilities(edit) }),
  };
}

function operationCapabilities(operation: BoundOperation): OperationCapabilities {
  const { fields, maxImagesPerTask, dimensions, inputs } = operation;
  const translated = dimensions === undefined ? [] : ["size", "aspectRatio"];
  const sized = dimensions?.by === "size" || dimensions?.resolutions !== undefined;
  return {
    fields: [...new Set([...fields, ...translated, ...(sized ? ["resolution"] : [])])],
    maxImagesPerTask,
    ...(inputs !== undefined && { inputs }),
  };
}
