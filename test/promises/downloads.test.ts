import { rmSync, writeFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import type { ImageEvent, ImageJob } from "../../src/types";
import { pixel, startServer } from "../support/server";
import {
  allProviders,
  aMoment,
  failureOf,
  jobProviders,
  prompt,
  providerOf,
  startStage,
  systemClock,
  until,
} from "../support/stage";

// ---- downloads ----

async function withDirectory(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "gpt-image-client-"));
  try {
    await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

test.for(allProviders)(
  "saveTo writes whole files of %s as they arrive, and leaves nothing else",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    await withDirectory(async (directory) => {
      const events: ImageEvent[] = [];
      const { images } = await stage
        .client(name, { poll: 10 }, systemClock)
        .generate(
          { prompt, n: 2 },
          { saveTo: join(directory, "deep", "er"), onEvent: (event) => events.push(event) },
        );
      const saved = await readdir(join(directory, "deep", "er"));
      expect(saved).toHaveLength(2);
      expect(saved.every((file) => file.endsWith(".png"))).toBe(true);
      for (const image of images) {
        expect(image.file).toContain(join(directory, "deep", "er"));
        const bytes = await readFile(image.file ?? "");
        expect(bytes.subarray(1, 4).toString()).toBe("PNG");
        expect(bytes.equals(await image.bytes())).toBe(true);
      }
      const files = events.flatMap((event) => (event.type === "saved" ? [event.file] : []));
      expect(files.sort()).toEqual(images.map((image) => image.file).sort());
      // What is on the disk is read from there.
      expect(stage.count("download")).toBe(name === "openaiCompatible" ? 0 : 2);
    });
  },
);

test.for(["truncated", "reset-after-acceptance", "not-an-image"] as const)(
  "a download that ends as %s is repeated alone, and no part of it is left",
  async (fault) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    stage.sandbox.inject({ provider: "trinetra", phase: "download", fault, times: 2 });
    await withDirectory(async (directory) => {
      const { image } = await stage.client("trinetra").generate({ prompt }, { saveTo: directory });
      expect(await readdir(directory)).toHaveLength(1);
      expect(await image.info()).toMatchObject({ mediaType: "image/png" });
      expect(stage.count("download")).toBe(3);
      expect(stage.count("create")).toBe(1);
      expect(stage.count("poll")).toBe(1);
    });
  },
);

test.for(allProviders)(
  "a directory that is gone when the image comes is a DownloadError, charged, and the job of %s still gives the image",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    await withDirectory(async (directory) => {
      const saveTo = join(directory, "pictures");
      const onEvent = ({ type }: ImageEvent) => {
        if (type !== "submitting") return;
        rmSync(saveTo, { recursive: true });
        writeFileSync(saveTo, "in the way");
      };
      const client = stage.client(name, { poll: 10 }, systemClock);
      const error = await failureOf(client.generate({ prompt }, { saveTo, onEvent }));
      expect(error).toMatchObject({ name: "DownloadError", charged: "yes", retryable: false });
      const later = await error.job?.result({ saveTo: directory });
      expect(later?.images).toHaveLength(1);
      expect((await later?.image.bytes())?.byteLength).toBeGreaterThan(0);
      expect(await readdir(directory)).toHaveLength(2);
      expect(stage.count("create")).toBe(1);
    });
  },
);

test.for(allProviders)(
  "a download of %s that never works is a DownloadError, charged, with the URL and the job",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 0, openaiAnswers: "url" });
    const fault = { fault: "unavailable", status: 500, times: 5 } as const;
    stage.sandbox.inject({ provider: name, phase: "download", ...fault });
    const { image } = await stage.client(name).generate({ prompt });
    const error = await failureOf(image.bytes());
    expect(error).toMatchObject({ name: "DownloadError", charged: "yes", status: 500 });
    expect(error.name === "DownloadError" && error.url).toBe(image.url);
    expect(error.job?.reference.tasks).toMatchObject([{ state: "succeeded" }]);
    expect(stage.count("download")).toBe(5);
    // Asked again it tries again.
    expect((await image.bytes()).byteLength).toBeGreaterThan(0);
    expect(stage.count("create")).toBe(1);
  },
);

test.for(
  jobProviders.flatMap((name) => ([403, 404, 410] as const).map((status) => ({ name, status }))),
)(
  "a URL of $name that has expired ($status) makes one fresh query of the job",
  async ({ name, status }) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    stage.sandbox.inject({ provider: name, phase: "create", fault: "expired", status });
    const { image } = await stage.client(name).generate({ prompt });
    const stale = image.url;
    const polls = stage.count("poll");
    expect(await image.info()).toMatchObject({ mediaType: "image/png" });
    expect(stage.count("poll")).toBe(polls + 1);
    expect(stage.count("download")).toBe(2);
    expect(image.url).not.toBe(stale);
    expect(stage.count("create")).toBe(1);
  },
);

test("a fresh query that fails leaves a DownloadError that says it was charged", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  stage.sandbox.inject({ provider: "trinetra", phase: "create", fault: "expired" });
  const { image } = await stage.client("trinetra").generate({ prompt });
  stage.sandbox.inject({ provider: "trinetra", phase: "poll", fault: "reset-after-acceptance" });
  const error = await failureOf(image.bytes());
  expect(error).toMatchObject({ name: "DownloadError", charged: "yes" });
  expect(error.job).toBeDefined();
  expect((await image.bytes()).byteLength).toBeGreaterThan(0);
});

test("Retry-After of a download is obeyed, as seconds and as a date", async () => {
  for (const as of ["header", "date"] as const) {
    await using stage = await startStage({ jobDurationMs: 0 });
    const fault = { fault: "rate-limited", retryAfterSeconds: 60, as } as const;
    stage.sandbox.inject({ provider: "trinetra", phase: "download", ...fault });
    const { image } = await stage.client("trinetra").generate({ prompt });
    const before = stage.clock.elapsedMs;
    await image.bytes();
    expect(stage.count("download")).toBe(2);
    expect(stage.clock.elapsedMs - before).toBeGreaterThanOrEqual(55_000);
    expect(stage.clock.elapsedMs - before).toBeLessThanOrEqual(62_000);
  }
});

test("Retry-After of a download that reaches past the time-out is an error at once", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const fault = { fault: "rate-limited", retryAfterSeconds: 3_600 } as const;
  stage.sandbox.inject({ provider: "trinetra", phase: "download", ...fault });
  const { image } = await stage.client("trinetra").generate({ prompt });
  const before = stage.clock.elapsedMs;
  const error = await failureOf(image.bytes());
  expect(error).toMatchObject({ name: "DownloadError", status: 429, retryAfterMs: 3_600_000 });
  expect(stage.clock.elapsedMs).toBe(before);
  expect(stage.count("download")).toBe(1);
});

test("close during the saving of what was paid for says that it was charged", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  stage.sandbox.inject({ provider: "trinetra", phase: "download", fault: "hang", afterBytes: 100 });
  await withDirectory(async (directory) => {
    const client = stage.client("trinetra", { poll: 10 }, systemClock);
    const call = failureOf(client.generate({ prompt }, { saveTo: directory }));
    await until(() => stage.count("download") === 1);
    await client.close();
    expect(await call).toMatchObject({ name: "ClientClosedError", charged: "yes" });
    await aMoment();
    expect(await readdir(directory)).toEqual([]);
  });
});

// ---- the key ----

test.for(allProviders)(
  "the key of %s goes to its own origin and nowhere else, not even along a redirect",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 0, openaiAnswers: "url" });
    await using elsewhere = await startServer((_, response) => {
      response.writeHead(200, { "content-type": "image/png" });
      response.end(pixel);
    });
    const location = `${elsewhere.url}/moved.png`;
    stage.sandbox.inject({ provider: name, phase: "download", fault: "redirect", location });
    const { baseURL, apiKey } = stage.sandbox[name];
    const provider = providerOf(name, { baseURL, apiKey });
    const client = new ProviderClient({ provider, allowPrivateNetwork: true }, stage.clock);
    const { image, raw } = await client.generate({ prompt });
    expect(pixel.equals(await image.bytes())).toBe(true);
    const api = stage.sandbox.requests.filter((each) => each.provider !== "cdn");
    const cdn = stage.sandbox.requests.filter((each) => each.provider === "cdn");
    expect(api.length).toBeGreaterThan(0);
    expect(api.every((each) => each.carriedKey)).toBe(true);
    expect(cdn).toHaveLength(1);
    expect(cdn.some((each) => each.carriedKey)).toBe(false);
    expect(elsewhere.requests).toHaveLength(1);
    expect(JSON.stringify(elsewhere.requests)).not.toContain(apiKey);
    expect(JSON.stringify(raw)).not.toContain(apiKey);
  },
);

test("headers of the caller's own go to the provider's origin alone", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const provider = providerOf("trinetra", {
    ...stage.sandbox.trinetra,
    ...{ headers: { "x-gateway-token": "gateway-secret" } },
  });
  const { image } = await new ProviderClient({ provider }, stage.clock).generate({ prompt });
  await image.bytes();
  const carried = stage.sandbox.requests.map(
    (each) => each.headers["x-gateway-token"] === "gateway-secret",
  );
  expect(carried).toEqual([true, true, false]);
});

test("a key that the provider repeats in its refusal is not in the error", async () => {
  await using stage = await startStage();
  const { apiKey } = stage.sandbox.shortapi;
  const fault = {
    fault: "refusal",
    status: 403,
    message: `The key ${apiKey} is blocked.`,
  } as const;
  stage.sandbox.inject({ provider: "shortapi", phase: "create", ...fault });
  const error = await failureOf(stage.client("shortapi").generate({ prompt }));
  expect(error.message).toContain("<key>");
  const shown = `${error.message} ${JSON.stringify(error)} ${JSON.stringify(error.raw)}`;
  expect(shown).not.toContain(apiKey);
  expect(shown).not.toContain(prompt);
});

test("a job of the caller's that is closed over by nobody keeps no timer", async () => {
  await using stage = await startStage();
  let job: ImageJob | undefined;
  const onSubmitted = (submitted: ImageJob) => {
    job = submitted;
  };
  await stage.client("trinetra").generate({ prompt }, { onSubmitted });
  expect(job).toBeDefined();
  await aMoment();
  expect(stage.clock.pending).toBe(0);
});
