import type * as Undici from "undici";

/**
 * undici, by its file and its default export. By its name, Bun would load a stand-in of its own whose
 * agents cannot dispatch (seen with Bun 1.4). And in the chunks of a bundler that splits, a CommonJS
 * package that is imported late has a default export alone (seen with esbuild 0.28, and so with tsup).
 */
export async function loadUndici(): Promise<typeof Undici> {
  const { default: undici }: { default: unknown } = await import("undici/index.js");
  return undici as typeof Undici;
}
