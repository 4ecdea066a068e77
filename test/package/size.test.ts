import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { bundle, type Chunk } from "../support/bundle";

interface Sizes {
  /** Minified and gzipped, of what the import itself loads. */
  readonly bytes: number;
  readonly loaded: readonly string[];
  /** The same of what is loaded on first use. */
  readonly laterBytes: number;
  readonly later: readonly string[];
}

/** What these names of the package come to in a bundle, dependencies left out. */
async function sizesOf(...names: string[]): Promise<Sizes> {
  const { loaded, later } = await bundle("./src/index.ts", names);
  return {
    ...{ bytes: gzippedBytes(loaded), loaded: sourcesOf(loaded) },
    ...{ laterBytes: gzippedBytes(later), later: sourcesOf(later) },
  };
}

function gzippedBytes(chunks: readonly Chunk[]): number {
  return chunks.reduce((sum, { text }) => sum + gzipSync(text, { level: 9 }).byteLength, 0);
}

function sourcesOf(chunks: readonly Chunk[]): string[] {
  return chunks.flatMap(({ sources }) => sources.map((name) => name.slice("src/".length))).sort();
}

const kilobytes = (bytes: number) => `${(bytes / 1024).toFixed(1)} KB`;

test("an import of the client is at most 18 KB of our own, minified and gzipped", async () => {
  const { bytes, laterBytes } = await sizesOf("createImageClient");
  console.log(`createImageClient: ${kilobytes(bytes)}, on first use ${kilobytes(laterBytes)}`);
  expect(bytes).toBeLessThanOrEqual(18 * 1024);
});

test.each(["shortapi", "aigptimage", "trinetra", "openai"])(
  // OpenAI's knows the errors of many gateways; what a base URL and a wrong field are told of takes its place.
  "with %s alone it is at most 24 KB, and carries no other provider",
  async (name) => {
    const { bytes, loaded, later } = await sizesOf("createImageClient", name);
    console.log(`with ${name}: ${kilobytes(bytes)}`);
    const file = name === "openai" ? "openai-compatible" : name;
    const carried = [...loaded, ...later].filter((each) => each.startsWith("providers/"));
    expect(carried).toEqual([`providers/${file}.ts`]);
    expect(bytes).toBeLessThanOrEqual(24 * 1024);
  },
);

test("what sends, and what only some clients need, is loaded on first use", async () => {
  const { loaded, later } = await sizesOf("createImageClient");
  const rooms = ["runner.ts", "http/transport.ts", "job/task.ts", "result/result.ts"];
  const seldom = [
    "job/recovery.ts",
    "journal/entry.ts",
    "webhooks/notifications.ts",
    "webhooks/receiver.ts",
  ];
  expect(later).toEqual(expect.arrayContaining([...rooms, ...seldom]));
  expect(loaded.filter((each) => later.includes(each))).toEqual([]);
});

test("a door that is not used loads nothing", async () => {
  const { loaded, later } = await sizesOf("createImageClient", "openai", "trinetra");
  expect([...loaded, ...later].filter((each) => each.startsWith("doors/"))).toEqual([]);
});

test("the gateway brings at most 15 KB of its own, no provider, and nothing that sends", async () => {
  const { loaded } = await bundle("./src/doors/gateway/index.ts", ["createImageGateway"]);
  const own = loaded.filter(({ sources }) => sources.some((each) => each.includes("/doors/")));
  console.log(`gateway: ${kilobytes(gzippedBytes(own))}`);
  expect(gzippedBytes(own)).toBeLessThanOrEqual(15 * 1024);
  const others = sourcesOf(loaded).filter((each) =>
    /^(providers\/|runner|http\/transport)/.test(each),
  );
  expect(others).toEqual([]);
});

test("the AI SDK's door brings at most 3 KB of its own, no provider, and nothing that sends", async () => {
  const names = ["imageModel", "createImageProvider", "imageOptions", "imageMetadata"];
  const { loaded } = await bundle("./src/doors/ai-sdk/index.ts", names);
  const own = loaded.filter(({ sources }) => sources.some((each) => each.includes("/doors/")));
  console.log(`ai-sdk: ${kilobytes(gzippedBytes(own))}`);
  expect(gzippedBytes(own)).toBeLessThanOrEqual(3 * 1024);
  const others = sourcesOf(loaded).filter((each) =>
    /^(providers\/|runner|http\/transport)/.test(each),
  );
  expect(others).toEqual([]);
});

test("the door to BullMQ brings at most 8 KB of its own, no provider, and nothing that sends", async () => {
  const names = ["addImageJob", "createImageProcessor", "listUnknown", "scheduleImageSweep"];
  const { loaded } = await bundle("./src/doors/bullmq/index.ts", names);
  const own = loaded.filter(({ sources }) => sources.some((each) => each.includes("/doors/")));
  console.log(`bullmq: ${kilobytes(gzippedBytes(own))}`);
  expect(gzippedBytes(own)).toBeLessThanOrEqual(8 * 1024);
  const others = sourcesOf(loaded).filter((each) =>
    /^(providers\/|runner|http\/transport)/.test(each),
  );
  expect(others).toEqual([]);
});

test("the door to PostgreSQL brings at most 12 KB of its own, no `pg`, and nothing that sends", async () => {
  const names = [
    ...["createPostgresGatewayStore", "createPostgresJournal", "createPostgresLedgerStore"],
    ...["migrate", "migrations"],
  ];
  const { loaded, later } = await bundle("./src/doors/postgres/index.ts", names);
  console.log(`postgres: ${kilobytes(gzippedBytes(loaded))}`);
  expect(gzippedBytes(loaded)).toBeLessThanOrEqual(12 * 1024);
  const others = sourcesOf([...loaded, ...later]).filter(
    (each) => !each.startsWith("doors/postgres/"),
  );
  expect(others).toEqual([]);
  expect(loaded.map(({ text }) => /from ?"pg"|require\("pg"\)/.test(text))).not.toContain(true);
});

test("the router brings at most 18 KB of its own, no provider, and nothing that sends", async () => {
  const names = ["createImageRouter", "memoryLedger", "jsonLinesLedger", "createLedger"];
  const { loaded } = await bundle("./src/doors/router/index.ts", names);
  const own = loaded.filter(({ sources }) => sources.some((each) => each.includes("/doors/")));
  console.log(`router: ${kilobytes(gzippedBytes(own))}`);
  expect(gzippedBytes(own)).toBeLessThanOrEqual(18 * 1024);
  const others = sourcesOf(loaded).filter((each) =>
    /^(providers\/|runner|http\/transport)/.test(each),
  );
  expect(others).toEqual([]);
});
