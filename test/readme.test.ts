import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import {
  aigptimage,
  createImageClient,
  type ImageClient,
  type ImageClientOptions,
  memoryJournal,
  type OperationCapabilities,
  openaiCompatible,
  type Provider,
  shortapi,
  trinetra,
} from "gpt-image-client";
import { type Sandbox, startSandbox } from "gpt-image-client/testing";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(join(root, "README.md"), "utf8");

interface Block {
  readonly line: number;
  readonly text: string;
}

const blocks: readonly Block[] = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map((match) => ({
  line: readme.slice(0, match.index).split("\n").length + 1,
  text: match[1] ?? "",
}));

function blockWith(text: string): Block {
  const found = blocks.find((block) => block.text.includes(text));
  if (found === undefined) throw new Error(`no example has ${text}`);
  return found;
}

/** The lines of the table whose first column has this title. */
function tableOf(title: string): readonly string[] {
  const [, table = ""] = new RegExp(`^(\\| ${title} +\\|.*?)\\n\\n`, "ms").exec(readme) ?? [];
  return table.split("\n");
}

/** A package of the reader's that is none of ours. Everything else an example defines itself. */
const preamble = `
declare module "@aws-sdk/client-s3" {
  export class S3Client { send(command: PutObjectCommand): Promise<unknown>; }
  export class PutObjectCommand {
    constructor(input: { Bucket: string; Key: string; Body?: Uint8Array; ContentType?: string });
  }
}
`;

describe("the examples in the README", () => {
  test("type-check, every one", () => {
    const configPath = join(root, "tsconfig.json");
    const { config } = ts.readConfigFile(configPath, ts.sys.readFile);
    const { options } = ts.parseJsonConfigFileContent(
      { ...config, include: [], files: [] },
      ts.sys,
      root,
    );
    const files = new Map(blocks.map(({ line, text }) => [join(root, `README.${line}.ts`), text]));
    files.set(join(root, "README.preamble.d.ts"), preamble);
    const all: ts.CompilerOptions = {
      ...options,
      moduleDetection: ts.ModuleDetectionKind.Force,
      // An example names things for the reader, not for itself.
      noUnusedLocals: false,
    };
    const host = ts.createCompilerHost(all);
    const { fileExists, readFile } = host;
    host.fileExists = (name) => files.has(name) || fileExists(name);
    host.readFile = (name) => files.get(name) ?? readFile(name);
    const getSourceFile = host.getSourceFile;
    host.getSourceFile = (name, ...rest) => {
      const text = files.get(name);
      return text === undefined
        ? getSourceFile(name, ...rest)
        : ts.createSourceFile(name, text, ts.ScriptTarget.ESNext);
    };
    const program = ts.createProgram([...files.keys()], all, host);
    const format = { ...host, getCanonicalFileName: (name: string) => name };
    const told = [...files.keys()].flatMap((name) => {
      const source = program.getSourceFile(name);
      if (source === undefined) return [`${name} was not read`];
      return [
        ...program.getSyntacticDiagnostics(source),
        ...program.getSemanticDiagnostics(source),
      ].map((each) => ts.formatDiagnostic(each, format));
    });
    expect(told).toEqual([]);
    expect(blocks.length).toBeGreaterThan(10);
  }, 60_000);

  let place = "";
  let sandbox: Sandbox;

  beforeAll(async () => {
    sandbox = await startSandbox({ jobDurationMs: 300, plainImages: true });
    // Under the repository, so that the examples' imports mean this package.
    await mkdir(join(root, "output"), { recursive: true });
    place = await mkdtemp(join(root, "output", "readme-"));
  });

  afterAll(async () => {
    await rm(place, { recursive: true, force: true });
    await sandbox.close();
  });

  /** Runs an example. */
  async function runs(block: Block): Promise<Record<string, unknown>> {
    const file = join(place, `line-${block.line}.ts`);
    await writeFile(file, `${block.text}\nexport {};\n`);
    return import(pathToFileURL(file).href);
  }

  test("the first one runs, with the sandbox for a provider, and saves a picture", async () => {
    const [first] = blocks;
    if (first === undefined) throw new Error("no example");
    expect(first.text.trim().split("\n")).toHaveLength(5);
    const picture = join(place, "web.png");
    const text = first.text
      .replace("trinetra()", `trinetra(${JSON.stringify(sandbox.trinetra)})`)
      .replace('"web.png"', JSON.stringify(picture));
    expect(text).not.toBe(first.text);
    await runs({ ...first, text });
    expect(readFileSync(picture).subarray(1, 4).toString()).toBe("PNG");
    expect(sandbox.charges).toHaveLength(1);
  });

  const png =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

  test.each(["fakeImageClient(", "startSandbox(", "setupServer("])(
    "the one with %s runs, and what it expects holds",
    async (mark) => {
      await runs(blockWith(mark));
    },
  );

  test("the adapter works", async () => {
    const { example } = await runs(blockWith("defineProvider("));
    // What the example's last statement exports: a provider function.
    const provider = (example as (settings: object) => Provider)({ apiKey: "key" });
    const asked: unknown[] = [];
    const answers = [
      { id: "7", state: "queued" },
      { id: "7", state: "running" },
      { id: "7", state: "done", url: `data:image/png;base64,${png}` },
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

  test("the queue worker pays once for a message that comes twice", async () => {
    const provider = trinetra(sandbox.trinetra);
    const client = createImageClient({ provider, poll: 10, journal: memoryJournal() });
    Object.assign(globalThis, { readmeApp: { client } });
    const block = blockWith("function work(");
    const text = block.text
      .replace("`pictures/", `\`${place}/`)
      .replace(
        "createImageClient({ provider: trinetra(), journal })",
        "globalThis.readmeApp.client",
      );
    // The signature that the example shows.
    const { work } = (await runs({ ...block, text })) as {
      work(message: { id: string; prompt: string }): Promise<string>;
    };
    sandbox.reset();
    const first = await work({ id: "m-7", prompt: "A fox" });
    expect(await work({ id: "m-7", prompt: "A fox" })).toBe(first);
    expect(sandbox.charges).toHaveLength(1);
  });

  /** An example whose provider is the sandbox. */
  function inSandbox(block: Block): Block {
    const text = block.text.replace("trinetra()", `trinetra(${JSON.stringify(sandbox.trinetra)})`);
    expect(text).not.toBe(block.text);
    return { ...block, text };
  }

  test("the web handler answers while the job runs, and with the picture", async () => {
    // The signatures that the example shows.
    const { create, show } = (await runs(inSandbox(blockWith("function create(")))) as {
      create(request: Request): Promise<Response>;
      show(id: string): Promise<Response>;
    };
    const body = JSON.stringify({ prompt: "A fox" });
    const created = await create(new Request("http://app.test/", { method: "POST", body }));
    expect(created.status).toBe(202);
    // As the example answers it.
    const { id } = (await created.json()) as { id: string };
    let shown = await show(id);
    expect(shown.status).toBe(202);
    while (shown.status === 202) shown = await show(id);
    expect([shown.status, shown.headers.get("content-type")]).toEqual([200, "image/png"]);
    expect((await show("nobody's")).status).toBe(404);
  });

  test("the stream of events tells the browser type, state and progress, and nothing else", async () => {
    // The signature that the example shows.
    const { progress } = (await runs(inSandbox(blockWith("function progress(")))) as {
      progress(reference: unknown, signal: AbortSignal): Response;
    };
    const client = createImageClient({ provider: trinetra(sandbox.trinetra) });
    const job = await client.submit({ prompt: "A fox" });
    const stream = await progress(job.reference, new AbortController().signal).text();
    const told = [...stream.matchAll(/^data: (.*)$/gm)].map(([, json = ""]) => JSON.parse(json));
    expect(told.at(-1)).toEqual({ type: "succeeded" });
    expect(told[0]).toMatchObject({ type: "status" });
    for (const event of told) {
      expect(["type", "state", "progress"]).toEqual(expect.arrayContaining(Object.keys(event)));
    }
  });
});

describe("what the README names", () => {
  test("every file that it links to is there", () => {
    const links = [...readme.matchAll(/\]\((?!https?:|#)([^)]+)\)/g)].map((match) => match[1]);
    expect(links.length).toBeGreaterThan(0);
    expect(links.filter((link) => !existsSync(join(root, link ?? "")))).toEqual([]);
  });

  test("every script that it tells to run is there", () => {
    const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    for (const [, name = ""] of readme.matchAll(/npm run ([\w:]+)/g)) {
      expect(scripts).toHaveProperty([name]);
    }
  });

  test("exactly the codes that errors have", () => {
    const source = readFileSync(join(root, "src/errors.ts"), "utf8");
    const codes = [...source.matchAll(/readonly code = "(\w+)"/g)].map((match) => match[1]);
    const named = [...blockWith("switch (error.code)").text.matchAll(/case "(\w+)":/g)];
    expect(named.map((match) => match[1]).sort()).toEqual(codes.sort());
  });

  test("every dependency, and no other", () => {
    const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const table = tableOf("dependency").join("\n");
    const named = [...table.matchAll(/^\| `([\w-]+)` +\|/gm)].map((match) => match[1]);
    expect(named.sort()).toEqual(Object.keys(dependencies).sort());
  });
});

// ---- the matrix ----

const prices = { textInput: 5, imageInput: 8, imageOutput: 30 };

const columns = {
  ShortAPI: ({ shortapi: access }: Sandbox) => shortapi(access),
  aigptimage: ({ aigptimage: access }: Sandbox) => aigptimage(access),
  Trinetra: ({ trinetra: access }: Sandbox) => trinetra(access),
  "OpenAI and compatible": ({ openaiCompatible: access }: Sandbox) =>
    openaiCompatible({ ...access, prices }),
};

/** Values of each field, from which those that a cell does not name are taken. */
const samples: Readonly<Record<string, readonly unknown[]>> = {
  size: ["1024x1024", "1536x1024", "1024x1536", "2048x2048", "auto"],
  aspectRatio: ["1:1", "3:2", "2:3", "16:9", "auto"],
  resolution: ["1K", "2K", "4K", "8K"],
  quality: ["low", "medium", "high", "auto", "xhigh"],
  background: ["transparent", "opaque", "auto", "checkered"],
  outputFormat: ["png", "jpeg", "webp", "gif"],
  outputCompression: [80],
  moderation: ["low", "auto", "high"],
  user: ["user-7"],
  safetyIdentifier: ["user-7"],
  webhookUrl: ["https://app.example.com/hook"],
};

const image = "https://example.com/a.png";

describe("the matrix of what each provider does with each field", () => {
  const cells = tableOf("field").map((line) => line.split("|").map((cell) => cell.trim()));
  const names = cells[0]?.slice(2, -1) ?? [];
  const rows = new Map(
    cells.slice(2).map(([, head = "", ...rest]) => [/`(\w+)`/.exec(head)?.[1] ?? head, rest]),
  );

  test("has a column for each provider", () => {
    expect(names).toEqual(Object.keys(columns));
  });

  let sandbox: Sandbox;
  beforeAll(async () => {
    sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true });
  });
  afterAll(() => sandbox.close());

  function clientOf(name: string): { client: ImageClient; cell(field: string): string } {
    const provider = Object.entries(columns).find(([each]) => each === name)?.[1];
    if (provider === undefined) throw new Error(`no provider ${name}`);
    const client = createImageClient({ provider: provider(sandbox), poll: 5 });
    return { client, cell: (field) => rows.get(field)?.[names.indexOf(name)] ?? "" };
  }

  /** The fields that a request with this one value is refused for. */
  function refusedFor(client: ImageClient, field: string, value: unknown, edit = false) {
    const beside = {
      ...(field === "resolution" && { aspectRatio: "1:1" }),
      ...(field === "outputCompression" && { outputFormat: "webp" }),
      ...(edit && { images: [image] }),
    };
    const problems = client.check({ prompt: "A fox", ...beside, [field]: value });
    return problems.flatMap((problem) => ("field" in problem ? [problem.field] : []));
  }

  describe.each(Object.keys(columns))("%s", (name) => {
    test.each(Object.keys(samples))("%s", (field) => {
      const { client, cell: cellOf } = clientOf(name);
      const cell = cellOf(field);
      const refused = cell.startsWith("refused");
      const { generate, edit = generate } = client.capabilities;
      const takes = (operation: OperationCapabilities) => operation.fields.includes(field);
      expect([takes(generate), cell]).toEqual([!refused, cell]);
      expect(takes(edit)).toBe(!refused && !cell.includes("refused in an edit"));
      const words = [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? "");
      for (const word of words) expect(refusedFor(client, field, word)).toEqual([]);
      for (const value of samples[field] ?? []) {
        const isNamed = words.includes(String(value));
        if (refused || (cell.includes("only ") && !isNamed)) {
          expect(refusedFor(client, field, value)).toContain(field);
        } else if (cell.includes("any word") || words.length === 0) {
          expect(refusedFor(client, field, value)).toEqual([]);
        }
        if (!takes(edit)) expect(refusedFor(client, field, value, true)).toContain(field);
      }
    });

    test("size and aspectRatio are sent or translated as it says", () => {
      const { cell } = clientOf(name);
      const { adapter } = columns[name as keyof typeof columns](sandbox);
      const by = adapter.operations.generate.dimensions?.by;
      expect(cell("size").split(/\W/)[0]).toBe(by === "size" ? "sent" : "translated");
      expect(cell("aspectRatio").split(/\W/)[0]).toBe(by === "ratio" ? "sent" : "translated");
    });

    test("n, images, mask, idempotencyKey and resume", () => {
      const { client, cell } = clientOf(name);
      const { generate, edit, idempotent, resumable } = client.capabilities;
      const most = generate.maxImagesPerTask;
      expect(cell("n")).toMatch(most === 1 ? /^split: 1 a/ : `sent up to ${most} a`);
      const inputs = edit?.inputs;
      const scheme = inputs?.httpsOnly === true ? "https URL" : "URL";
      const how = inputs?.as === "bytes" ? "as bytes" : `by ${scheme}`;
      expect(cell("images")).toBe(`up to ${inputs?.maxCount}, ${how}`);
      expect(cell("mask").startsWith("sent")).toBe(inputs?.mask);
      expect(cell("idempotencyKey").startsWith("sent")).toBe(idempotent);
      expect(cell("resume").startsWith("yes")).toBe(resumable);
    });

    test("cost and warnings", async () => {
      const { client, cell } = clientOf(name);
      const options = { idempotencyKey: "order-7" };
      const { cost, warnings } = await client.generate({ prompt: "A fox" }, options);
      const said = cell("cost");
      if (said.startsWith("reported")) {
        expect(cost?.basis).toBe("reported");
        expect(said).toContain(cost?.unit);
      } else if (said.startsWith("from usage")) expect(cost?.basis).toBe("usage");
      else expect([said, cost]).toEqual(["not known", undefined]);
      const request = {
        prompt: "A fox",
        ...(client.capabilities.generate.fields.includes("quality") && { quality: "low" }),
        size: "1024x1024",
      };
      expect(client.estimate(request) !== undefined).toBe(said.includes("estimate"));
      expect(warnings.some((each) => each.includes("idempotencyKey"))).toBe(
        cell("idempotencyKey").includes("with a warning"),
      );
    });
  });
});
