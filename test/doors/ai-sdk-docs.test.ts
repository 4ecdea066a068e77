import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const page = readFileSync(`${root}docs/ai-sdk.md`, "utf8");
const blocks = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, text = ""]) => text);

test("the examples in docs/ai-sdk.md type-check, with the SDK's major that Node 20 runs and with the next", () => {
  const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile);
  const parsed = ts.parseJsonConfigFileContent({ ...config, include: [], files: [] }, ts.sys, root);
  const files = new Map(
    blocks.flatMap((text, index) => [
      [`${root}docs/ai-sdk.${index}.six.ts`, text],
      [`${root}docs/ai-sdk.${index}.seven.ts`, text.replace('from "ai"', 'from "ai-7"')],
    ]),
  );
  // An example names things for the reader, not for itself.
  const options = { ...parsed.options, noUnusedLocals: false };
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (name) => files.has(name) || fileExists(name);
  host.readFile = (name) => files.get(name) ?? readFile(name);
  host.getSourceFile = (name, language, ...rest) => {
    const text = files.get(name);
    return text === undefined
      ? getSourceFile(name, language, ...rest)
      : ts.createSourceFile(name, text, language);
  };
  const program = ts.createProgram([...files.keys(), `${root}src/http/undici.d.ts`], options, host);
  const problems = ts.getPreEmitDiagnostics(program).map(({ file, messageText }) => {
    return `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`;
  });
  expect(files.size).toBeGreaterThan(6);
  expect(problems).toEqual([]);
}, 60_000);
