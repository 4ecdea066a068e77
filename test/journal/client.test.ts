import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { directoryJournal } from "../../src/journal/directory";
import { type Journal, memoryJournal } from "../../src/journal/journal";
import { shortapi } from "../../src/providers/index";
import {
  allProviders,
  failureOf,
  jobProviders,
  noRoom,
  only,
  prompt,
  recordsOf,
  recovered,
  startStage,
} from "./stage";

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

test.each(allProviders)("at %s the marker is durable before the create arrives", async (name) => {
  await using stage = await startStage();
  const inner = memoryJournal();
  const arrived: number[] = [];
  const journal: Journal = {
    ...inner,
    async create(record) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      arrived.push(stage.sandbox.requests.length);
      return inner.create(record);
    },
  };
  await stage.client(name, journal).generate({ prompt });
  expect(arrived).toEqual([0]);
  expect(stage.count("create")).toBe(1);
});

test.each(allProviders)("at %s a task takes at most three writes of its record", async (name) => {
  await using stage = await startStage();
  const inner = memoryJournal();
  const states: string[] = [];
  const journal: Journal = {
    ...inner,
    create: async (record) => {
      states.push(record.state);
      return inner.create(record);
    },
    update: async (record) => {
      states.push(record.state);
      await inner.update(record);
    },
  };
  await stage.client(name, journal).generate({ prompt });
  const answersWithImages = name === "openaiCompatible";
  expect(states).toEqual(["submitting", ...(answersWithImages ? [] : ["submitted"]), "succeeded"]);
});

test.each(jobProviders)(
  "at %s the provider's id is written before the first poll",
  async (name) => {
    await using stage = await startStage();
    const inner = memoryJournal();
    const seen: [string, number][] = [];
    const journal: Journal = {
      ...inner,
      async update(record) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        if (record.state === "submitted") seen.push([record.taskId ?? "", stage.count("poll")]);
        await inner.update(record);
      },
    };
    const { job } = await stage.client(name, journal).generate({ prompt });
    expect(seen).toEqual([[job.reference.tasks[0]?.id, 0]]);
  },
);

test.each(allProviders)("at %s the images are on disk before generate resolves", async (name) => {
  await using stage = await startStage();
  const journal = directoryJournal(stage.directory);
  const { images, job } = await stage.client(name, journal).generate({ prompt, n: 2 });
  await stage.sandbox.close();
  const files = (await readdir(stage.directory)).filter((file) => file.endsWith(".png"));
  expect(files).toHaveLength(2);
  expect(files.every((file) => file.startsWith(job.id))).toBe(true);
  const onDisk = await Promise.all(files.map((file) => readFile(join(stage.directory, file))));
  const bytes = await Promise.all(images.map((image) => image.bytes()));
  expect(bytes.map(digest).sort()).toEqual(onDisk.map(digest).sort());
  await images[0]?.save(join(stage.directory, "copy.png"));
});

test.each(allProviders)("at %s a journal that cannot be written stops the create", async (name) => {
  await using stage = await startStage();
  const journal: Journal = { ...memoryJournal(), create: () => Promise.reject(noRoom()) };
  const client = stage.client(name, journal);
  for (const call of [client.generate({ prompt, n: 3 }), client.submit({ prompt })]) {
    const error = await failureOf(call);
    expect(error.code).toBe("journal_failed");
    expect(error.charged).toBe("no");
    expect(error.message).toContain("ENOSPC");
  }
  expect(stage.sandbox.requests).toEqual([]);
});

test("a journal whose record cannot be read stops the create", async () => {
  await using stage = await startStage();
  const journal: Journal = {
    ...memoryJournal(),
    create: async () => false,
    read: async () => "{ half",
  };
  const error = await failureOf(
    stage.client("trinetra", journal).generate({ prompt }, { idempotencyKey: "a" }),
  );
  expect(error.code).toBe("journal_failed");
  expect(error.charged).toBe("no");
  expect(stage.sandbox.requests).toEqual([]);
});

test.each(jobProviders)(
  "at %s a disk that is full when the id comes costs a warning alone",
  async (name) => {
    await using stage = await startStage();
    const inner = memoryJournal();
    const journal: Journal = {
      ...inner,
      async update(record) {
        if (record.state === "submitted") throw noRoom();
        await inner.update(record);
      },
    };
    const result = await stage.client(name, journal).generate({ prompt });
    expect(result.images).toHaveLength(1);
    expect(result.warnings.join()).toMatch(/journal.*ENOSPC/);
    expect(await only(recordsOf(inner))).toMatchObject({ state: "succeeded" });
  },
);

test.each(allProviders)(
  "at %s a disk that is full when the images come loses none of them",
  async (name) => {
    await using stage = await startStage();
    const inner = memoryJournal();
    let isFull = true;
    const journal: Journal = {
      ...inner,
      async writeImage(...image) {
        if (isFull) throw noRoom();
        await inner.writeImage(...image);
      },
    };
    const error = await failureOf(stage.client(name, journal).generate({ prompt }));
    expect(error.code).toBe("journal_failed");
    expect(error.charged).toBe("yes");
    isFull = false;
    const result = await error.job?.result();
    expect(result?.images).toHaveLength(1);
    const record = await only(recordsOf(inner));
    expect(record.state).toBe("succeeded");
    expect(await inner.readImage(record.id, 0)).toEqual(await result?.image.bytes());
    expect(stage.count("create")).toBe(1);
  },
);

test.each(allProviders)(
  "at %s a disk that is full at the last record says that it was charged",
  async (name) => {
    await using stage = await startStage();
    const inner = memoryJournal();
    let isFull = true;
    const journal: Journal = {
      ...inner,
      async update(record) {
        if (record.state === "succeeded" && isFull) throw noRoom();
        await inner.update(record);
      },
    };
    const error = await failureOf(stage.client(name, journal).generate({ prompt }));
    expect([error.code, error.charged]).toEqual(["journal_failed", "yes"]);
    isFull = false;
    expect((await error.job?.result())?.images).toHaveLength(1);
    expect(await only(recordsOf(inner))).toMatchObject({ state: "succeeded" });
  },
);

test.each(allProviders)(
  "at %s no key stands in the directory, whatever went wrong",
  async (name) => {
    await using stage = await startStage();
    const { sandbox, directory } = stage;
    const client = stage.client(name, directoryJournal(directory), { timeoutMs: 1_000 });
    await client.generate({ prompt });
    await client.generate({ prompt }, { idempotencyKey: "message-1" });
    const { apiKey } = sandbox[name];
    const create = { provider: name, phase: "create" } as const;
    sandbox.inject({ ...create, fault: "reset-after-acceptance", times: 9 });
    await client.generate({ prompt }).catch(() => {});
    sandbox.reset();
    sandbox.inject({ ...create, fault: "failure", message: `${apiKey} is out` });
    await client.generate({ prompt }).catch(() => {});
    const files = await readdir(directory);
    expect(files.length).toBeGreaterThan(3);
    const texts = await Promise.all(files.map((file) => readFile(join(directory, file), "latin1")));
    expect(texts.join()).toContain(prompt);
    expect(texts.join()).not.toContain(apiKey);
    expect(texts.join()).not.toMatch(/authorization|bearer|x-api-key/i);
  },
);

test("corrupt, foreign and newer records and those of other clients are left alone", async () => {
  await using stage = await startStage();
  const { directory, sandbox } = stage;
  const journal = directoryJournal(directory);
  const { job } = await stage.client("trinetra", journal).generate({ prompt });
  const own = `${job.id}.0`;
  const record = await readFile(join(directory, `${own}.json`), "utf8");
  const change = (more: object) => JSON.stringify({ ...JSON.parse(record), ...more });
  await writeFile(join(directory, "half.0.json"), record.slice(0, 50));
  await writeFile(join(directory, "newer.0.json"), change({ id: "newer.0", v: 2 }));
  await writeFile(join(directory, "copied.0.json"), record);
  await writeFile(join(directory, "elsewhere.0.json"), change({ id: "elsewhere.0", baseURL: "x" }));
  await writeFile(join(directory, "package.json"), "{}");
  await stage.client("shortapi", journal).generate({ prompt });
  const before = await readdir(directory);
  const requests = sandbox.requests.length;
  const skipped: string[] = [];
  const ids: string[] = [];
  const client = stage.client("trinetra", journal);
  for await (const each of client.recover({
    onSkipped: (id) => skipped.push(id),
    retentionMs: 0,
  })) {
    ids.push(each.id);
  }
  expect(skipped.sort()).toEqual(["copied.0", "half.0", "newer.0", "package"]);
  expect(ids).toEqual([]);
  const expired = before.filter((file) => file.startsWith(own));
  expect(await readdir(directory)).toEqual(before.filter((file) => !expired.includes(file)));
  expect(sandbox.requests).toHaveLength(requests);
});

test("the same provider at another address does not see the records", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  await stage.client("shortapi", journal).generate({ prompt }, { idempotencyKey: "a" });
  const baseURL = "https://shortapi.example";
  const elsewhere = stage.client("shortapi", journal, {
    provider: shortapi({ apiKey: "key", baseURL }),
    fetch: async () => new Response(null, { status: 500 }),
  });
  expect(await recovered(elsewhere)).toEqual([]);
  const error = await failureOf(elsewhere.generate({ prompt }, { idempotencyKey: "a" }));
  expect(error.charged).toBe("unknown");
});

test("a journal whose list breaks says so, without sending anything", async () => {
  await using stage = await startStage();
  const journal: Journal = {
    ...memoryJournal(),
    // biome-ignore lint/correctness/useYield: it breaks before its first entry
    async *list() {
      throw new Error("EIO: i/o error");
    },
  };
  const error = await failureOf(recovered(stage.client("trinetra", journal)));
  expect([error.code, error.charged]).toEqual(["journal_failed", "no"]);
});
