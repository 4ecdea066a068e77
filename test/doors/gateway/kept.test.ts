import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createImageClient, memoryJournal, openaiCompatible } from "gpt-image-client";
import {
  createImageGateway,
  directoryStore,
  type GatewayStore,
  type OrderRecord,
} from "gpt-image-client/gateway";
import { startSandbox } from "gpt-image-client/testing";
import { expect, test, vi } from "vitest";
import { settled } from "./clock";
import { Stage, started } from "./held";
import { authorize } from "./support";

async function scratch() {
  const directory = await mkdtemp(join(tmpdir(), "gateway-kept-"));
  return {
    directory,
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true, maxRetries: 10 }),
  };
}

test("a store whose writes take differently long holds the last state of an order", async () => {
  await using kept = await scratch();
  const records = new Map<string, OrderRecord>();
  const writes: (() => void)[] = [];
  const store: GatewayStore = {
    directory: kept.directory,
    put: (record) =>
      new Promise((resolve) => {
        writes.push(() => {
          records.set(record.id, record);
          resolve();
        });
      }),
    delete: async (id) => void records.delete(id),
    async *list() {},
  };
  const stage = new Stage({ store }, { idempotent: true });
  void stage.ask({ key: "k" });
  while (writes.length < 1) await settled();
  writes[0]?.();
  await started(stage, 1);
  const id = stage.held.idOf(0);
  const submitted = stage.held.calls[0]?.options?.onSubmitted?.({ reference: { v: 1 } } as never);
  stage.held.calls[0]?.end();
  for (let turn = 0; turn < 20; turn += 1) await settled();
  // The write of the provider's job is under way, and that of the end waits for it.
  expect(writes).toHaveLength(2);
  writes[1]?.();
  await submitted;
  while (writes.length < 3) await settled();
  writes[2]?.();
  await settled();
  expect(records.get(id)).toMatchObject({ reference: { v: 1 }, end: { facts: { job: id } } });
});

test("a picture that a record names is synced before the record is written", async () => {
  await using kept = await scratch();
  const handle = await open(kept.directory, "r");
  const prototype = Object.getPrototypeOf(handle);
  await handle.close();
  const steps: string[] = [];
  const sync = vi.spyOn(prototype, "sync").mockImplementation(async () => {
    steps.push("sync");
  });
  const store: GatewayStore = {
    directory: kept.directory,
    put: async ({ end }) => void steps.push(end === undefined ? "record" : "end"),
    delete: async () => {},
    async *list() {},
  };
  await using sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true });
  const provider = openaiCompatible(sandbox.openaiCompatible);
  const client = createImageClient({ provider });
  const gateway = createImageGateway({ models: { m: client }, authorize, store });
  const response = await gateway.fetch(order());
  sync.mockRestore();
  expect(response.status).toBe(200);
  await response.text();
  const end = steps.indexOf("end");
  const submitted = steps.lastIndexOf("record", end);
  // The file, and the directory that has its name.
  expect(steps.slice(submitted + 1, end)).toEqual(["sync", "sync"]);
  await client.close();
});

test("a client's journal forgets an order with the gateway", async () => {
  await using kept = await scratch();
  await using sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true });
  const journal = memoryJournal();
  const provider = openaiCompatible(sandbox.openaiCompatible);
  const client = createImageClient({ provider, journal });
  const options = { models: { m: client }, authorize, store: directoryStore(kept.directory) };
  const left = async () => {
    let count = 0;
    for await (const { record } of journal.list()) {
      // A record of the journal's own.
      if ((record as { released?: boolean }).released !== true) count += 1;
    }
    return count;
  };
  const gateway = createImageGateway(options);
  const response = await gateway.fetch(order());
  expect(await left()).toBe(1);
  await response.text();
  await vi.waitFor(async () => expect(await left()).toBe(0), 20_000);

  await gateway.close();
  await client.close();
});

function order(): Request {
  return new Request("http://gateway/v1/images/generations", {
    method: "POST",
    headers: { authorization: "Bearer key-of-anna", "content-type": "application/json" },
    body: JSON.stringify({ prompt: "A web", size: "1024x1024" }),
  });
}
