import { onceLoaded } from "../async/lazy";
import type loadFiles from "./undici-files";

/** Of undici, what sends. */
export type Undici = Readonly<Awaited<ReturnType<typeof loadFiles>>>;

/** Loaded at the first send: an app that only imports this package does not pay for it. */
export const loadUndici: () => Promise<Undici> = onceLoaded(async () => {
  const { default: load } = await import("./undici-files");
  return load();
});
