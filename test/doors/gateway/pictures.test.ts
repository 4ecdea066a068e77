import { chmod, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fakeImageClient } from "gpt-image-client/testing";
import sharp from "sharp";
import { expect, test } from "vitest";
import { GatewayStage } from "./stage";

const noise = { type: "gaussian", mean: 128, sigma: 60 } as const;
const large = await sharp({
  create: { width: 700, height: 700, channels: 3, background: "black", noise },
})
  .png()
  .toBuffer();

async function scratch() {
  const directory = await mkdtemp(join(tmpdir(), "gateway-spool-"));
  return {
    directory,
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true, maxRetries: 10 }),
  };
}

const body = { prompt: "A web", n: 2 };

const stageOf = (directory: string, images: [Uint8Array, ...Uint8Array[]]) =>
  GatewayStage.open({
    gateway: { models: { m: fakeImageClient({ images }) }, spoolDirectory: directory },
  });

test("a large picture waits on the disk, is sent with a length, and leaves nothing behind", async () => {
  await using spool = await scratch();
  await using stage = await stageOf(spool.directory, [large]);
  expect(large.byteLength).toBeGreaterThan(256 * 1024);
  const response = await stage.post("/images/generations", body);
  expect(await readdir(spool.directory)).toHaveLength(2);
  const text = await response.text();
  expect(response.headers.get("content-length")).toBe(String(text.length));
  const { data } = JSON.parse(text);
  for (const { b64_json } of data) expect(Buffer.from(b64_json, "base64").equals(large)).toBe(true);
  expect(await left(spool.directory, 0)).toEqual([]);
});

/** The files once there are so many: they go after the last byte was written. */
async function left(directory: string, count: number): Promise<string[]> {
  for (let turn = 0; turn < 100; turn += 1) {
    const names = await readdir(directory);
    if (names.length === count) return names;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return readdir(directory);
}

test("small pictures stay in memory once it is known that they are small", async () => {
  await using spool = await scratch();
  await using stage = await stageOf(spool.directory, [small]);
  await (await stage.post("/images/generations", body)).text();
  await left(spool.directory, 0);
  const response = await stage.post("/images/generations", body);
  expect(await readdir(spool.directory)).toEqual([]);
  expect(((await response.json()) as { data: unknown[] }).data).toHaveLength(2);
});

const small = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
  .png()
  .toBuffer();

test("a large picture after a small one is written before its head leaves", async () => {
  await using spool = await scratch();
  await using stage = await stageOf(spool.directory, [small, small, large, large]);
  await (await stage.post("/images/generations", body)).text();
  await left(spool.directory, 0);
  const response = await stage.post("/images/generations", body);
  expect(await readdir(spool.directory)).toHaveLength(2);
  expect(((await response.json()) as { data: unknown[] }).data).toHaveLength(2);
});

test("a spool that cannot be written is found out before anything is bought", async () => {
  await using spool = await scratch();
  const file = join(spool.directory, "file");
  await writeFile(file, "in the way");
  await chmod(spool.directory, 0o755);
  await using stage = await GatewayStage.open({ gateway: { spoolDirectory: join(file, "spool") } });
  const response = await stage.post("/images/generations", { prompt: "A web" });
  expect(response.status).toBe(503);
  expect(await response.json()).toMatchObject({ error: { charged: "no", param: null } });
  expect(stage.creates).toBe(0);
});

test("a picture whose caller breaks off in the middle goes to the next equal request", async () => {
  await using spool = await scratch();
  const images = Array.from({ length: 2 }, () => Buffer.concat([large, Buffer.alloc(20_000_000)]));
  const [first = large, ...rest] = images;
  const model = fakeImageClient({ images: [first, ...rest] });
  await using stage = await GatewayStage.open({
    gateway: { models: { m: model }, spoolDirectory: spool.directory },
  });
  await new Promise<void>((resolve) => {
    const text = JSON.stringify(body);
    const socket = connect(Number(new URL(stage.baseURL).port), "127.0.0.1");
    socket.write(
      `POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-of-anna\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
    );
    socket.once("data", () => {
      socket.resetAndDestroy();
      resolve();
    });
  });
  await new Promise((resolve) => setTimeout(resolve, 100));
  const response = await stage.post("/images/generations", body);
  expect(((await response.json()) as { data: unknown[] }).data).toHaveLength(2);
  expect(model.calls).toHaveLength(1);
  expect(stage.errors).toEqual([]);
});
