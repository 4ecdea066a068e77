import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InvalidRequestError } from "gpt-image-client";
import { directoryStore } from "gpt-image-client/gateway";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { settled } from "./clock";
import { Stage, started } from "./held";
import { orderRecord } from "./store-contract";

/** Its provider honours no key, and has no job to ask after. */
const plain = { idempotent: false, keepsJournal: false, resumable: false };

describe("of what an earlier process has left", () => {
  let directory: string;
  const stage = (capabilities = {}) =>
    new Stage({ store: directoryStore(directory) }, { ...plain, ...capabilities });

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "gateway-restored-"));
  });

  // What is written of a delivered order is waited for by nobody.
  afterEach(() => rm(directory, { recursive: true, force: true, maxRetries: 10 }));

  /** A gateway that has given a picture under a key, and has died. */
  async function delivered() {
    const dead = stage();
    const asked = dead.ask({ key: "k" });
    await started(dead, 1);
    dead.held.calls[0]?.end();
    const { body } = await asked.received();
    await expect.poll(kept, { timeout: 20_000 }).toContain('"isDelivered":true');
    return body;
  }

  /** Not by the store's own listing, which is for one gateway alone and tidies up. */
  async function kept(): Promise<string> {
    const names = (await readdir(directory)).filter((name) => name.startsWith("order-"));
    const texts = await Promise.all(names.map((name) => readFile(join(directory, name), "utf8")));
    return texts.join("\n");
  }

  test("a picture that was kept is given again under its key, and not bought", async () => {
    const before = await delivered();
    const next = stage();
    expect((await next.ask({ key: "k" }).received()).body).toEqual(before);
    expect((await next.job(before.job ?? "")).body.data).toEqual(before.data);
    expect(next.held.calls).toHaveLength(0);
  });

  test("a picture that is not there whole is no 200, was charged, and stays in the record", async () => {
    const { job } = await delivered();
    const [picture = ""] = (await readdir(directory)).filter((name) => !/^\.?order-/.test(name));
    await writeFile(join(directory, picture), "half");
    const next = stage();
    const { status, body } = await next.ask({ key: "k" }).received();
    expect({ status, body }).toMatchObject({
      status: 424,
      body: { error: { charged: "yes", job } },
    });
    expect(next.held.calls).toHaveLength(0);
    // The machine that has the file may come back.
    expect(await kept()).toContain(picture);
  });

  test("that its client knows no such job does not say that an order was free", async () => {
    const reference = { v: 1 } as never;
    const caller = orderRecord(1, { model: "gpt-image-2", reference });
    await directoryStore(directory).put(caller);
    const resume = () => {
      throw new InvalidRequestError({ charged: "no", field: "reference.provider" });
    };
    const store = directoryStore(directory);
    const next = new Stage({ store }, { ...plain, resumable: true }, undefined, { resume });
    await settled();
    await expect.poll(kept, { timeout: 20_000 }).toContain('"charged":"unknown"');
    expect(next.errors).toEqual([]);
  });

  test("an order of a model that is gone may have been charged, and is told so", async () => {
    const caller = orderRecord(1);
    const store = directoryStore(directory);
    await store.put({ ...caller, model: "gone" });
    const next = stage();
    await settled();
    await expect.poll(kept, { timeout: 20_000 }).toContain('"charged":"unknown"');
    expect(next.errors).toEqual([]);
  });

  test("what is no order is told of, and keeps nobody from the others", async () => {
    const before = await delivered();
    const id = "f".repeat(32);
    await writeFile(join(directory, `order-${id}.json`), "{ torn");
    await writeFile(join(directory, `order-${"e".repeat(32)}.json`), '{"v":2}');
    const next = stage();
    expect((await next.ask({ key: "k" }).received()).body).toEqual(before);
    expect(next.errors.map(String)).toEqual(
      Array(2).fill("Error: The store holds something that is no order of this version"),
    );
  });
});

test("what the gateway has not is a 404, and another method a 405 that says which", async () => {
  const { gateway } = new Stage();
  const ask = (path: string, method: string) =>
    gateway.fetch(
      new Request(`http://gateway/v1${path}`, {
        method,
        headers: { authorization: "Bearer key-of-anna" },
      }),
    );
  expect((await ask("/images/variations", "POST")).status).toBe(404);
  const wrong = await ask("/images/generations", "GET");
  expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "POST"]);
  expect(await wrong.json()).toMatchObject({ error: { charged: "no" } });
});
