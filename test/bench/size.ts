import { gzipSync } from "node:zlib";
import { bundle, type Chunk } from "../support/bundle";
import type { Figures } from "./stage";

/** What only the adapter of each provider says. */
const marks = {
  shortapi: "/api/v1/job/create",
  aigptimage: "/api/v1/jobs/createTask",
  trinetra: "TRINETRA_API_KEY",
  openai: "/images/generations",
} as const;

const textOf = (chunks: readonly Chunk[]) => chunks.map(({ text }) => text).join("");

function gzipped(chunks: readonly Chunk[]): number {
  return chunks.length === 0 ? 0 : gzipSync(textOf(chunks), { level: 9 }).byteLength;
}

/** How many other providers an app carries that imports one. */
async function strangersOf(name: string): Promise<number> {
  const { loaded, later } = await bundle("./dist/index.js", ["createImageClient", name]);
  const text = textOf([...loaded, ...later]);
  const found = Object.entries(marks).filter(([, mark]) => text.includes(mark));
  if (!found.some(([each]) => each === name)) throw new Error(`${name} is not in its own bundle`);
  return found.length - 1;
}

export async function measureSize(): Promise<Figures> {
  const own = await bundle("./src/index.ts", ["createImageClient"]);
  const shipped = await bundle("./dist/index.js", ["createImageClient"]);
  const strangers = await Promise.all(Object.keys(marks).map(strangersOf));
  return {
    coreBytes: gzipped(own.loaded),
    lazyBytes: gzipped(own.later),
    shippedBytes: gzipped(shipped.loaded),
    shippedLazyBytes: gzipped(shipped.later),
    strangers: Math.max(...strangers),
  };
}
