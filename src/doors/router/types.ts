import type {
  Amount,
  CallOptions,
  Cost,
  EditRequest,
  GenerateRequest,
  ImageClient,
  ImageError,
  ImageJob,
  ImageRequest,
  ImageResult,
  Journal,
  RecoverOptions,
} from "../../index";
import type { ImageLedger } from "./ledger";

/** One of the clients that a router chooses from. */
export interface RoutedClient {
  readonly client: ImageClient;
  /**
   * What the router calls it in claims, warnings, events and the ledger. It must stay the same: a claim
   * leads back to it. Default: the client's own name, with its account where that was named.
   */
  readonly name?: string;
  /**
   * How often it is asked first, beside the weights of the others (1 where none is given); with 0 only
   * after all others. Where no client has one, the order is that of the list.
   */
  readonly weight?: number;
  /** Which requests it is for. Default: whatever it can do. */
  readonly when?: (request: ImageRequest) => boolean;
  /** What an image of it is taken to cost where its list does not say: a budget refuses it otherwise. */
  readonly assume?: Amount;
}

/** A client that can do a request, as `sort` sees it. */
export interface RouteCandidate {
  /** What the router calls it. */
  readonly name: string;
  readonly client: ImageClient;
  /** 1 where none was given. */
  readonly weight: number;
  /** The list price of the whole request, or the assumed one. */
  readonly estimate?: Amount;
}

/** So much money, or so many credits, for a time. */
export interface Budget {
  readonly amount: number;
  readonly unit: Cost["unit"];
  /** By the calendar, in UTC: an hour, day or month that begins has all of it again. */
  readonly per: "hour" | "day" | "month" | "forever";
  /** Only for calls with all of these tags. Default: for all calls. */
  readonly tags?: Readonly<Record<string, string>>;
}

/** What has become of a budget, in its unit and its present hour, day or month. */
export interface BudgetStatus extends Budget {
  /** What was spent. */
  readonly charged: number;
  /** What is held for orders that are on their way. */
  readonly reserved: number;
  /** What is held for orders of which nobody knows whether they were charged. */
  readonly unknown: number;
  /** What may still be ordered; never below 0. */
  readonly left: number;
  /** By how much orders in flight came to cost more than was reserved for them, above the budget. */
  readonly overshoot: number;
  /** When it is whole again; absent where it never is. */
  readonly renewsAt?: Date;
}

/** What a router did, beside what its clients tell in their own events. Plain JSON, save the errors. */
export type RouteEvent =
  /** The client was not asked: it cannot do the request, has no room in a budget, or cools. */
  | { readonly type: "skipped"; readonly client: string; readonly reason: string }
  /** The client said no and charged nothing: the next one is asked. */
  | { readonly type: "fallback"; readonly client: string; readonly error: ImageError }
  /** The client is not asked for so long. */
  | {
      readonly type: "cooling";
      readonly client: string;
      readonly code: string;
      readonly forMs: number;
    }
  /** All that can do the request cool: the call waits for the first. */
  | { readonly type: "waiting"; readonly client: string; readonly delayMs: number }
  /** The order's fate is unknown, and its call has asked for one more purchase. */
  | { readonly type: "bought-again"; readonly client: string; readonly error: ImageError }
  /** An order came to cost more than was reserved, and its budget is exceeded by so much. */
  | { readonly type: "overshoot"; readonly budget: Budget; readonly by: number };

/** The second argument of a router's `generate`, `edit` and `submit`. */
export interface RouterCallOptions extends CallOptions {
  /**
   * `"buy-again"`: where nobody can know whether an order was charged, another client may be asked all
   * the same, once a call. Both orders are held against budgets, and both may have to be paid. Default:
   * the error ends the call.
   */
  readonly onUnknown?: "buy-again";
}

/** Options of {@link createImageRouter}. */
export interface ImageRouterOptions {
  /** In order of preference. */
  readonly clients: readonly (ImageClient | RoutedClient)[];
  /** What `router.name` says, and the errors that are its own. Default `"router"`. */
  readonly name?: string;
  /**
   * Which is asked first: `"order"` of the list (with weights: drawn by them), the lowest `"price"`, or
   * a function that gives those to be asked in their order. Default `"order"`.
   */
  readonly sort?:
    | "order"
    | "price"
    | ((candidates: readonly RouteCandidate[], request: ImageRequest) => readonly RouteCandidate[]);
  /** False keeps an error from being passed on to the next client. It is asked only where the router would go on. */
  readonly fallback?: (error: ImageError) => boolean;
  /**
   * Where the claims of `idempotencyKey`s are kept, durably and for all processes that may be given the
   * same key, such as `directoryJournal(path)`. It may be that of the clients. Without one a key is
   * refused.
   */
  readonly journal?: Journal;
  /** Milliseconds for a call in all, from its first create or its first wait for a client that cools. Default 600,000. */
  readonly timeoutMs?: number;
  /** What may be spent. */
  readonly budget?: readonly Budget[];
  /** Where orders are written down. Default with a budget: memory. */
  readonly ledger?: ImageLedger;
  /** What one of each unit is worth in one common currency, such as `{ USD: 1, credits: 0.012 }`. */
  readonly rates?: Readonly<Record<string, number>>;
  /** How many times its estimate an order is reserved with. Default 1. */
  readonly margin?: number;
  /** What an image is taken to cost where neither a list nor its client's own `assume` says. */
  readonly assume?: Amount;
  /** Whether a cost that a provider reports is believed where its list says more. Default false. */
  readonly trustReported?: boolean;
  /** Hears what the router does. What it throws is ignored. */
  readonly onRoute?: (event: RouteEvent) => unknown;
}

/** Several clients as one, with fallback by charge. */
export interface ImageRouter extends ImageClient {
  generate(request: GenerateRequest, options?: RouterCallOptions): Promise<ImageResult>;
  edit(request: EditRequest, options?: RouterCallOptions): Promise<ImageResult>;
  submit(request: ImageRequest, options?: RouterCallOptions): Promise<ImageJob>;
  /**
   * The jobs that the journals of its clients keep, as their own `recover` gives them: one after another,
   * each job once. A client that cannot be asked does not keep the others': its error comes last. Lets
   * old claims go.
   */
  recover(options?: RecoverOptions): AsyncIterableIterator<ImageJob>;
  /**
   * Whether the journal of any client has a record of the job that is that client's own.
   *
   * @param reference the job, its reference, or its JSON.
   * @throws {@link InvalidRequestError} where it is no client's; {@link JournalError} if a journal cannot
   * be read.
   */
  holds(reference: unknown): Promise<boolean>;
  /** What has become of each budget. */
  budgets(): Promise<readonly BudgetStatus[]>;
  /** The ledger, where there is one. */
  readonly ledger?: ImageLedger;
}
