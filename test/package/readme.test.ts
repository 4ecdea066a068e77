import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  aigptimage,
  createImageClient,
  type ImageClient,
  type OperationCapabilities,
  openaiCompatible,
  shortapi,
  trinetra,
} from "gpt-image-client";
import { type Sandbox, startSandbox } from "gpt-image-client/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { page, root, snippetsOf, tableOf } from "../support/pages";

const readme = page("README.md");

test("it is no longer than two hundred lines, and shows a small picture", () => {
  expect(readme.text.split("\n").length).toBeLessThanOrEqual(200);
  const picture = readFileSync(join(root, "docs/contact-sheet.png"));
  expect(picture.subarray(1, 4).toString()).toBe("PNG");
  expect(picture.byteLength).toBeLessThan(150 * 1024);
});

test("it begins with five lines of code, and says that no live service was tried", () => {
  const [first] = snippetsOf(readme, "ts");
  expect(first?.text.trim().split("\n")).toHaveLength(5);
  expect(readme.text).toContain("never tried against a live service");
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
  stream: [true],
  partialImages: [1, 3],
  webhookUrl: ["https://app.example.com/hook"],
};

const image = "https://example.com/a.png";

describe("the matrix of what each provider does with each field", () => {
  const cells = tableOf(readme, "field").map((line) => line.split("|").map((cell) => cell.trim()));
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
