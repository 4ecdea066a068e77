import { type ImageError, isImageError, type Journal, memoryJournal } from "gpt-image-client";
import type { Clock } from "../../../src/doors/router/clock";
import { routerOn } from "../../../src/doors/router/router";
import type { ImageRouter, ImageRouterOptions, RouteEvent } from "../../../src/doors/router/types";
import { type Fate, ModelClient, type ModelOptions } from "./model-client";
import { SimClock } from "./sim-clock";

export const prompt = "A dew-covered web at sunrise";

export type Models = Readonly<Record<string, Partial<ModelOptions>>>;

export interface Stage {
  readonly clock: SimClock;
  readonly journal: Journal;
  readonly clients: readonly ModelClient[];
  readonly a: ModelClient;
  readonly b: ModelClient;
  readonly c: ModelClient;
  readonly router: ImageRouter;
  readonly events: RouteEvent[];
  /** Another router over the same clients and the same journal, as another process would have one. */
  another(options?: Partial<ImageRouterOptions>, clock?: Clock): ImageRouter;
}

/** A router over models, on a clock that jumps. */
export function stage(
  models: Models,
  options: Partial<ImageRouterOptions> = {},
  random = () => 0,
): Stage {
  const clock = new SimClock();
  const journal = memoryJournal();
  const clients = Object.entries(models).map(
    ([name, each]) => new ModelClient({ name, clock, ...each }),
  );
  const events: RouteEvent[] = [];
  const onRoute = (event: RouteEvent) => events.push(event);
  const another = (more: Partial<ImageRouterOptions> = {}, itsClock: Clock = clock) =>
    routerOn({ clients, journal, onRoute, ...options, ...more }, { clock: itsClock, random });
  const [a, b, c] = clients;
  if (a === undefined) throw new Error("no client");
  const named = { a, b: b ?? a, c: c ?? a };
  return { clock, journal, clients, events, another, router: another(), ...named };
}

export async function failureOf(work: Promise<unknown>): Promise<ImageError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!isImageError(error)) throw new Error(`no image error: ${String(error)}`);
  return error;
}

export const refused = (error: ImageError): Fate => ({ kind: "refused", error });

export const typesOf = (events: readonly RouteEvent[]) => events.map(({ type }) => type);

/** What this process holds of claims is gone, as if it had died and another had its number. */
export function die(): void {
  const shared = globalThis as unknown as Record<symbol, Map<string, number> | undefined>;
  shared[Symbol.for("gpt-image-client.router.claims")]?.clear();
}

export async function listOf<Value>(values: AsyncIterable<Value>): Promise<Value[]> {
  const list: Value[] = [];
  for await (const value of values) list.push(value);
  return list;
}
