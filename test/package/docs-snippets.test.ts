import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import {
  createImageClient,
  directoryJournal,
  type ImageClient,
  type ImageClientOptions,
  isImageError,
  type Provider,
  shortapi,
  TimeoutError,
  trinetra,
} from "gpt-image-client";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { page, snippetsOf, snippetWith } from "../support/pages";
import { SnippetStage } from "../support/snippet-stage";

const start = "docs/getting-started.md";
const png =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

let stage: SnippetStage;
beforeAll(async () => {
  stage = await SnippetStage.start();
});
afterAll(() => stage[Symbol.asyncDispose]());

// What a snippet prints is for its reader.
beforeEach(() => {
  vi.spyOn(console, "log").mockReturnValue();
  vi.spyOn(console, "error").mockReturnValue();
  stage.sandbox.reset();
});
afterEach(() => vi.restoreAllMocks());

async function isPng(name: string): Promise<boolean> {
  return (await readFile(join(stage.directory, name))).subarray(1, 4).toString() === "PNG";
}

describe("the snippets of the README", () => {
  test("the first one saves a picture", async () => {
    const [first] = snippetsOf(page("README.md"), "ts");
    if (first === undefined) throw new Error("no snippet");
    await stage.run(first);
    expect(await isPng("web.png")).toBe(true);
    expect(stage.sandbox.charges).toHaveLength(1);
  });

  test("the one that swaps the provider makes a client of it", async () => {
    await stage.run(snippetWith("README.md", "this line, and no other"));
    expect(stage.sandbox.requests).toEqual([]);
  });

  test("the one of errors saves a picture, and prints a failure", async () => {
    const snippet = snippetWith("README.md", "isImageError(error)");
    await stage.run(snippet);
    expect(await isPng("fox.png")).toBe(true);
    stage.sandbox.inject({ provider: "trinetra", phase: "create", fault: "refusal", status: 400 });
    await stage.run({ ...snippet, file: "README/refused.ts" });
    expect(console.error).toHaveBeenCalledWith(expect.any(String), "no", expect.any(String));
  });
});

describe("the snippets of Getting started", () => {
  test("the first picture is checked, estimated and saved", async () => {
    await stage.run(snippetWith(start, "client.check(request)"));
    expect(console.log).toHaveBeenCalledWith([]);
    expect(stage.sandbox.charges).toHaveLength(1);
  });

  test("a picture of this machine is put where the provider finds it", async () => {
    const kept = new Map<string, Buffer>();
    const bucket = createServer(async (request, response) => {
      kept.set(request.url ?? "", await buffer(request));
      response.end();
    });
    await new Promise<void>((resolve) => bucket.listen(0, "127.0.0.1", resolve));
    // A TCP server's address is an object.
    const { port } = bucket.address() as AddressInfo;
    await stage.write("street.jpg", Buffer.from(png, "base64"));
    const snippet = snippetWith(start, "async upload(");
    const text = stage.inSandbox(snippet);
    await stage.run(
      snippet,
      text.replace("https://bucket.example.com", `http://127.0.0.1:${port}`),
    );
    bucket.closeAllConnections();
    bucket.close();
    expect([...kept.values()]).toEqual([Buffer.from(png, "base64")]);
    expect([...kept.keys()][0]).toMatch(/-street\.jpg$/);
    expect(stage.sandbox.charges).toHaveLength(1);
  });

  test("the stream of events tells the browser type, state and progress, and nothing else", async () => {
    // The signature that the snippet shows.
    const { progress } = (await stage.run(snippetWith(start, "function progress("))) as {
      progress(reference: unknown, signal: AbortSignal): Response;
    };
    const client = createImageClient({ provider: trinetra(stage.sandbox.trinetra) });
    const job = await client.submit({ prompt: "A fox" });
    const stream = await progress(job.reference, new AbortController().signal).text();
    const told = [...stream.matchAll(/^data: (.*)$/gm)].map(([, json = ""]) => JSON.parse(json));
    expect(told.at(-1)).toEqual({ type: "succeeded" });
    expect(told[0]).toMatchObject({ type: "status" });
    for (const event of told) {
      expect(["type", "state", "progress"]).toEqual(expect.arrayContaining(Object.keys(event)));
    }
  });

  test("the queue worker pays once for a message that comes twice", async () => {
    // The signature that the snippet shows.
    const { work } = (await stage.run(snippetWith(start, "function work("))) as {
      work(message: { id: string; prompt: string }): Promise<string>;
    };
    const first = await work({ id: "m-7", prompt: "A fox" });
    expect(await work({ id: "m-7", prompt: "A fox" })).toBe(first);
    expect(stage.sandbox.charges).toHaveLength(1);
  });

  test("the picture for S3 is put with the type that it has", async () => {
    const stub = `
      export class PutObjectCommand { constructor(input) { this.input = input; } }
      export class S3Client { async send({ input }) { (globalThis.putObjects ??= []).push(input); } }
    `;
    const manifest = { name: "@aws-sdk/client-s3", type: "module", exports: "./index.js" };
    await stage.write("node_modules/@aws-sdk/client-s3/index.js", stub);
    await stage.write("node_modules/@aws-sdk/client-s3/package.json", JSON.stringify(manifest));
    await stage.run(snippetWith(start, "PutObjectCommand"));
    const put: unknown = Reflect.get(globalThis, "putObjects");
    expect(put).toEqual([
      expect.objectContaining({ Bucket: "pictures", ContentType: "image/png" }),
    ]);
  });

  test("many pictures are saved, each in a file of its own", async () => {
    const before = await readdir(join(stage.directory, "pictures")).catch(() => []);
    await stage.run(snippetWith(start, "Promise.allSettled"));
    const after = await readdir(join(stage.directory, "pictures"));
    expect(after.length).toBe(before.length + 3);
    expect(stage.sandbox.charges).toHaveLength(3);
  });

  test("six pictures of one request are counted, and the one that failed is told of", async () => {
    stage.sandbox.inject({ provider: "shortapi", phase: "poll", fault: "failure", times: 1 });
    await stage.run(snippetWith(start, "n: 6"));
    expect(vi.mocked(console.log).mock.calls).toEqual([["5 pictures for 0.1 USD"]]);
    expect(vi.mocked(console.error).mock.calls).toEqual([[expect.stringMatching(/charged: no/)]]);
  });

  test("a client is closed when the process is asked to end", async () => {
    const before = process.listeners("SIGTERM");
    await stage.run(snippetWith(start, 'process.once("SIGTERM"'));
    const [added] = process.listeners("SIGTERM").filter((each) => !before.includes(each));
    expect(added).toBeDefined();
    await added?.("SIGTERM");
    process.removeAllListeners("SIGTERM");
    for (const each of before) process.on("SIGTERM", each);
  });
});

describe("the snippets of the other pages", () => {
  test("the loop over what a crash left saves its pictures and lets it go", async () => {
    const journal = directoryJournal("./.images");
    const dying = createImageClient({ provider: shortapi(stage.sandbox.shortapi), journal });
    const { id } = await dying.submit({ prompt: "A fox" });
    await dying.close();
    await stage.run(snippetWith("docs/crash-and-journal.md", "client.recover()"));
    expect(await isPng(`rescued/${id}-0.png`)).toBe(true);
    expect(stage.sandbox.charges).toHaveLength(1);
    const left = await readdir(join(stage.directory, ".images"));
    expect(left.filter((name) => name.startsWith(id))).toEqual([]);
  });

  test("a client of each tenant has the account of the tenant", async () => {
    const snippet = snippetWith("docs/crash-and-journal.md", "account: tenant.id");
    // The signature that the snippet shows.
    const { clientOf } = (await stage.run(snippet)) as {
      clientOf(tenant: { id: string; key(): Promise<string> }): ImageClient;
    };
    expect(clientOf({ id: "t-1", key: async () => "key" }).name).toBe("openai");
  });

  test("the webhook's route answers 204", async () => {
    const snippet = snippetWith("docs/webhooks.md", "client.webhooks.handle");
    vi.stubEnv("WEBHOOK_SECRET", "sixteen characters");
    // The signature that the snippet shows.
    const { POST } = (await stage.run(snippet)) as { POST(request: Request): Promise<Response> };
    vi.unstubAllEnvs();
    const body = JSON.stringify({ job_id: "nobody's" });
    const request = new Request("https://app.example.com/hooks/pictures", { method: "POST", body });
    expect((await POST(request)).status).toBe(204);
  });

  test("a user is told of an error, and what is no error of ours is thrown on", async () => {
    // The signature that the snippet shows.
    const { explain } = (await stage.run(snippetWith("docs/errors.md", "switch (error.code)"))) as {
      explain(error: unknown): string;
    };
    expect(explain(new TimeoutError({ charged: "unknown", timeoutMs: 1 }))).toMatch(/longer/);
    expect(() => explain(new RangeError("other"))).toThrow(RangeError);
  });

  test("an error can be made by hand, and has what the page says", async () => {
    await stage.run(snippetWith("docs/errors.md", "new ModerationError("));
    expect(console.log).toHaveBeenCalledWith(true, "moderation", false);
    expect(isImageError(new Error("other"))).toBe(false);
  });

  test("an endpoint's promises are taken", async () => {
    await stage.run(snippetWith("docs/money.md", "refusalStatuses"));
  });

  test("who comes from openai has two pictures and what they used", async () => {
    await stage.run(snippetWith("docs/migrating.md", "OPENAI_API_KEY, as before"));
    expect(await isPng("fox-0.png")).toBe(true);
    expect(existsSync(join(stage.directory, "fox-1.png"))).toBe(true);
    expect(stage.sandbox.charges).toHaveLength(1);
  });

  test.each(["fakeImageClient(", "startSandbox(", "setupServer("])(
    "what the test with %s expects holds",
    async (mark) => {
      const snippet = snippetWith("docs/testing.md", mark);
      // It has a sandbox of its own.
      await stage.run(snippet, snippet.text);
    },
  );

  test("the adapter works", async () => {
    const { example } = await stage.run(snippetWith("docs/own-provider.md", "defineProvider("));
    // What the snippet's last statement exports: a provider function.
    const provider = (example as (settings: object) => Provider)({ apiKey: "key" });
    const asked: unknown[] = [];
    const answers = [
      { id: 7, state: "queued", url: null },
      { id: 7, state: "a word that it does not know" },
      { id: 7, state: "done", url: `data:image/png;base64,${png}` },
    ];
    const fetch: ImageClientOptions["fetch"] = async (url, init) => {
      asked.push([init?.method, new URL(String(url)).pathname, init?.body]);
      return Response.json(answers[asked.length - 1]);
    };
    const client = createImageClient({ provider, fetch, poll: 1 });
    const { images } = await client.generate({ prompt: "A fox", aspectRatio: "3:2" });
    expect(images).toHaveLength(1);
    expect(asked).toEqual([
      ["POST", "/jobs", '{"prompt":"A fox","ratio":"3:2"}'],
      ["GET", "/jobs/7", undefined],
      ["GET", "/jobs/7", undefined],
    ]);
  });
});
