import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import ts from "typescript";
import { expect, test } from "vitest";
import { urlProblem } from "../../src/http/network-guard";
import { createImageClient, openai, shortapi } from "../../src/index";
import { shown } from "../../src/parse/shown";
import { createProvider } from "../../src/provider";

const sourceRoot = fileURLToPath(new URL("../../src/", import.meta.url));

interface Pattern {
  readonly place: string;
  readonly expression: RegExp;
}

/** Every regular expression that stands in the sources: nobody has to remember to add one. */
function patternsOf(name: string): Pattern[] {
  const text = readFileSync(sourceRoot + name, "utf8");
  const source = ts.createSourceFile(name, text, ts.ScriptTarget.ESNext, true);
  const found: Pattern[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isRegularExpressionLiteral(node)) {
      const end = node.text.lastIndexOf("/");
      const expression = new RegExp(node.text.slice(1, end), node.text.slice(end + 1));
      const { line } = source.getLineAndCharacterOfPosition(node.getStart());
      found.push({ place: `${name}:${line + 1} ${node.text}`, expression });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

const patterns = readdirSync(sourceRoot, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .flatMap((name) => patternsOf(name.replaceAll("\\", "/")));

/** What a text that is to keep a pattern busy may be made of. */
function piecesOf({ source }: RegExp): string[] {
  const plain = source.replace(/\\([^dwsDWSbnrtux\d])/g, "$1");
  const words = plain.match(/[\w:/=;,.-]{2,}/g) ?? [];
  const characters = [...plain].filter((each) => !"^$()?*+|[]{}\\".includes(each));
  return [
    ...new Set([...words, ...characters, "1", "a", " ", "\t", "\n", ".", "-", "/", "'", '"']),
  ];
}

/** The least of three, since others share this machine. */
function millisecondsOf(work: () => unknown): number {
  const times = [1, 2, 3].map(() => {
    const startedAt = performance.now();
    work();
    return performance.now() - startedAt;
  });
  return Math.min(...times);
}

test("there are patterns to look at", () => {
  expect(patterns.length).toBeGreaterThan(50);
});

test.each(patterns)("$place takes linear time, whatever it is given", ({ expression }) => {
  const piece = fc.constantFrom(...piecesOf(expression));
  const some = (maxLength: number) =>
    fc.array(piece, { maxLength }).map((pieces) => pieces.join(""));
  const pump = fc.array(piece, { minLength: 1, maxLength: 3 }).map((pieces) => pieces.join(""));
  fc.assert(
    fc.property(some(3), pump, some(2), (head, body, tail) => {
      const text = `${head}${body.repeat(Math.ceil(30_000 / body.length))}${tail}\u0000`;
      expression.lastIndex = 0;
      // A quadratic one takes half a second for as much, a linear one a tenth of a millisecond.
      expect(millisecondsOf(() => text.replace(expression, ""))).toBeLessThan(60);
    }),
    { numRuns: 150 },
  );
});

const dots = ".".repeat(200_000);

test.each([
  ["in front", `http://${dots}a/x.png`],
  ["at the end", `http://a${dots}/x.png`],
  ["alone", `http://${dots}/x.png`],
  ["between", `http://${"a.".repeat(100_000)}com/x.png`],
])(
  "the guard on a host of 200 KB of dots %s takes no longer than five times `new URL`",
  (_, text) => {
    const parsing = millisecondsOf(() => new URL(text));
    expect(millisecondsOf(() => urlProblem(new URL(text)))).toBeLessThan(5 * parsing + 5);
    expect(urlProblem(new URL(text))).toMatch(/^A host of 20\d{4} characters cannot exist\.$/);
  },
);

test.each(["images", "baseURL", "size", "webhookUrl", "providerOptions", "unknown name"])(
  "a request with a long text in %s is judged at once, and briefly",
  (field) => {
    const provider = shortapi({ apiKey: "key" });
    const client = createImageClient({ provider });
    for (const piece of [".", "/", "a", " ", "1", "-", "%", "1x", ":", "data:", "\t"]) {
      const text = piece.repeat(200_000 / piece.length);
      const problems = () => {
        if (field === "images") {
          const images = [`http://${text}a/x.png`, `data:${text}`, `https://a.test/${text}`];
          return images.flatMap((image) => client.check({ prompt: "x", images: [image] }));
        }
        if (field === "baseURL") {
          try {
            createProvider(openai().adapter, { baseURL: `https://a.test/${text}!` });
            return [];
          } catch (error) {
            return [error];
          }
        }
        if (field === "unknown name") return client.check({ prompt: "x", [text]: 1 } as never);
        const value = field === "providerOptions" ? { [text]: {} } : text;
        return client.check({ prompt: "x", [field]: value } as never);
      };
      expect(millisecondsOf(problems)).toBeLessThan(150);
      for (const problem of problems()) expect(String(problem).length).toBeLessThan(2_000);
    }
    expect(shown("size", dots).length).toBeLessThan(100);
  },
);
