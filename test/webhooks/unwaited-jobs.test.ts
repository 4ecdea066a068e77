import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { directoryJournal, type ImageJob } from "gpt-image-client";
import { expect, test, vi } from "vitest";
import {
  directories,
  hookUrl,
  inject,
  knock,
  makeClient,
  polls,
  posting,
  prompt,
  restart,
  sandbox,
  secret,
  taskIdOf,
  until,
  useReceiver,
  webhooksAnswered,
} from "./receiver-support";

useReceiver();

async function temporaryDirectory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "webhooks-"));
  directories.push(path);
  return path;
}

// ---- jobs that nobody waits for ----

test.each(posting)("%s: a job that nobody waits for is settled, and told of once", async (name) => {
  inject(name, { fault: "twice" });
  const onSettled = vi.fn();
  const job = await makeClient(name, { webhooks: { onSettled } }).submit({ prompt });
  const [call] = await webhooksAnswered(2);
  await until(() => onSettled.mock.calls.length > 0);
  await knock(call?.url ?? "", call?.body);
  await sleep(200);

  expect(onSettled.mock.calls).toEqual([[job]]);
  expect(polls()).toBe(1);
  expect(await job.status()).toMatchObject({ settled: true, state: "succeeded" });
  expect((await job.result()).images).toHaveLength(1);
  expect(polls()).toBe(1);
});

test("a split job that nobody waits for is told of once, when all of it has ended", async () => {
  const settled: number[] = [];
  const onSettled = () => settled.push(sandbox.webhooks.length);
  const client = makeClient("shortapi", { webhooks: { onSettled } });
  const job = await client.submit({ prompt, n: 4 });
  await webhooksAnswered(4);
  await until(() => settled.length > 0);
  await sleep(200);

  expect(settled).toEqual([4]);
  expect((await job.result()).images).toHaveLength(4);
});

test("a failed job that nobody waits for is told of too", async () => {
  sandbox.inject({ provider: "trinetra", phase: "create", fault: "failure" });
  const onSettled = vi.fn();
  await makeClient("trinetra", { webhooks: { onSettled } }).submit({ prompt });
  await until(() => onSettled.mock.calls.length === 1);

  const [job] = onSettled.mock.calls[0] as [ImageJob];
  expect((await job.status()).state).toBe("failed");
});

test("onSettled is not told of jobs that somebody waits for", async () => {
  const onSettled = vi.fn();
  const client = makeClient("trinetra", { webhooks: { onSettled } });
  await client.generate({ prompt });
  const job = await client.submit({ prompt });
  await job.result();
  sandbox.inject({ provider: "trinetra", phase: "create", fault: "slow", delayMs: 700 });
  await client.generate({ prompt });
  await sleep(200);

  expect(onSettled).not.toHaveBeenCalled();
});

test("a job whose waiting was given up is told of", async () => {
  const onSettled = vi.fn();
  const client = makeClient("trinetra", { webhooks: { onSettled } });
  await expect(client.generate({ prompt }, { timeoutMs: 150 })).rejects.toMatchObject({
    code: "timeout",
  });

  await until(() => onSettled.mock.calls.length === 1);
});

test.each([
  ["rejects", () => Promise.reject(new Error("later"))],
  [
    "throws",
    () => {
      throw new Error("at once");
    },
  ],
])("an onSettled that %s is nobody's trouble", async (_name, fail) => {
  const onSettled = vi.fn(fail);
  const client = makeClient("trinetra", { webhooks: { onSettled } });
  await client.submit({ prompt });
  await until(() => onSettled.mock.calls.length === 1);

  expect((await client.generate({ prompt })).images).toHaveLength(1);
});

// ---- with a journal ----

test.each(posting)(
  "%s: another client on the journal settles a job that it never saw",
  async (name) => {
    const path = await temporaryDirectory();
    const first = makeClient(name, { journal: directoryJournal(path) });
    const { id } = await first.submit({ prompt });
    await first.close();
    const settled: ImageJob[] = [];
    makeClient(name, {
      journal: directoryJournal(path),
      webhooks: { onSettled: (job) => settled.push(job) },
    });
    await until(() => settled.length > 0);
    await sleep(200);

    expect(settled.map((job) => job.id)).toEqual([id]);
    expect(await recordsIn(path)).toMatchObject([{ jobId: id, state: "succeeded" }]);
    expect(polls()).toBe(1);
    expect((await readdir(path)).filter((file) => file.endsWith(".png"))).toHaveLength(1);
  },
);

test("a process that ended after submit has its job settled by another", async () => {
  const path = await temporaryDirectory();
  const { baseURL, apiKey } = sandbox.shortapi;
  await writeFile(
    join(path, "submit.mts"),
    `import { createImageClient, directoryJournal, shortapi } from ${JSON.stringify(sourceUrl)};
    const client = createImageClient({
      provider: shortapi(${JSON.stringify({ baseURL, apiKey })}),
      journal: directoryJournal(${JSON.stringify(join(path, "journal"))}),
      webhooks: ${JSON.stringify({ url: hookUrl, secret })},
    });
    const job = await client.submit({ prompt: "A paper boat" });
    console.log(job.id);
    process.kill(process.pid, "SIGKILL");`,
  );
  inject("shortapi", { fault: "late", delayMs: 300 });
  const settled: ImageJob[] = [];
  makeClient("shortapi", {
    journal: directoryJournal(join(path, "journal")),
    webhooks: { onSettled: (job) => settled.push(job) },
  });
  const args = ["--import", tsxUrl, join(path, "submit.mts")];
  const child = await execFileAsync(process.execPath, args).catch((error) => error);
  await until(() => settled.length === 1);

  expect(child.signal).toBe("SIGKILL");
  expect(settled[0]?.id).toBe(child.stdout.trim());
  const image = await settled[0]?.result();
  expect((await image?.image.info())?.mediaType).toBe("image/png");
}, 60_000);

test("a journal's job that a false call has woken is handed out by recover", async () => {
  await restart({ jobDurationMs: 1_500 });
  const path = await temporaryDirectory();
  const first = makeClient("trinetra", { journal: directoryJournal(path) });
  const job = await first.submit({ prompt });
  await first.close();
  sandbox.setWebhook("trinetra", undefined);
  const second = makeClient("trinetra", {
    journal: directoryJournal(path),
    poll: 100,
    webhooks: { backstopMs: 100 },
  });
  await knock(hookUrl, { id: taskIdOf(job) });
  await until(() => polls() === 1);
  const recovered: ImageJob[] = [];
  for await (const each of second.recover()) recovered.push(each);

  expect(recovered.map(({ id }) => id)).toEqual([job.id]);
  expect((await recovered[0]?.result())?.images).toHaveLength(1);
});

test("two calls at once for a job of the journal settle it once, by one query", async () => {
  const path = await temporaryDirectory();
  const first = makeClient("trinetra", { journal: directoryJournal(path) });
  const job = await first.submit({ prompt });
  await first.close();
  sandbox.setWebhook("trinetra", undefined);
  await until(() => sandbox.jobs[0]?.state === "succeeded");
  const onSettled = vi.fn();
  makeClient("trinetra", { journal: directoryJournal(path), webhooks: { onSettled } });
  await Promise.all(Array.from({ length: 20 }, () => knock(hookUrl, { id: taskIdOf(job) })));
  await until(() => onSettled.mock.calls.length > 0);
  await Promise.all(Array.from({ length: 20 }, () => knock(hookUrl, { id: taskIdOf(job) })));
  await sleep(1_300);

  expect(onSettled).toHaveBeenCalledTimes(1);
  expect(polls()).toBe(1);
});

test("the journal of a hooked job holds neither key nor secret", async () => {
  const path = await temporaryDirectory();
  await makeClient("shortapi", { journal: directoryJournal(path) }).generate({ prompt });

  const all = JSON.stringify(await recordsIn(path));
  expect(all).not.toContain(sandbox.shortapi.apiKey);
  expect(all).not.toContain(secret);
});

const sourceUrl = pathToFileURL(fileURLToPath(new URL("../../src/index.ts", import.meta.url))).href;
const tsxUrl = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
const execFileAsync = promisify(execFile);

async function recordsIn(path: string): Promise<unknown[]> {
  const files = (await readdir(path)).filter((file) => file.endsWith(".json"));
  return Promise.all(
    files.map(async (file) => JSON.parse(await readFile(join(path, file), "utf8"))),
  );
}
