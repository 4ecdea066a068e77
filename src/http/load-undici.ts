import { onceLoaded } from "../async/lazy";
import type undici from "./undici-files";

/** Of undici, what sends. */
export type Undici = typeof undici;

/** Loaded at the first send: an app that only imports this package does not pay for it. */
export const loadUndici: () => Promise<Undici> = onceLoaded(
  async () => (await import("./undici-files")).default,
);
