import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { build as Build, Format, transform as Transform } from "esbuild";
import type { Verdicts } from "./smoke";

const require = createRequire(import.meta.url);
// esbuild as tsup brings it along.
const esbuild: { build: typeof Build; transform: typeof Transform; version: string } =
  createRequire(require.resolve("tsup"))("esbuild");

/** An empty folder for one target, and the packed package to install into it. */
export interface Project {
  readonly directory: string;
  readonly tarball: string;
  /** Runs a command there, with the provider's origin in `ORIGIN`; gives what it printed. */
  run(command: string, ...args: string[]): Promise<string>;
  write(name: string, text: string): void;
}

/** A runtime, a bundler or a test runner. */
export interface Target {
  readonly name: string;
  run(project: Project): Promise<{ version: string; verdicts: Verdicts }>;
}

const smokeSource = readFileSync(fileURLToPath(new URL("smoke.ts", import.meta.url)), "utf8");

async function smokeAs(format: Format): Promise<string> {
  return (await esbuild.transform(smokeSource, { loader: "ts", format, target: "node20" })).code;
}

const print = 'console.log("verdicts: " + JSON.stringify(verdicts));';
const main = `import { smoke } from "./smoke.mjs";
const verdicts = await smoke(process.env.ORIGIN);
${print}
process.exit(0);`;
// CommonJS has no `await` of its own.
const mainWithoutAwait = `import { smoke } from "./smoke.mjs";
smoke(process.env.ORIGIN).then((verdicts) => { ${print} process.exit(0); });`;
const mainInCommonJs = `const { smoke } = require("./smoke.cjs");
smoke(process.env.ORIGIN).then((verdicts) => { ${print} process.exit(0); });`;

function verdictsIn(printed: string): Verdicts {
  const line = /^verdicts: (.*)$/m.exec(printed)?.[1];
  if (line === undefined) throw new Error(`It printed no verdicts: ${printed.slice(-1_500)}`);
  return JSON.parse(line);
}

/** Installs the package, and what else is named, without any script of theirs. */
async function install(project: Project, ...packages: string[]): Promise<void> {
  const { write, run, tarball } = project;
  write("package.json", JSON.stringify({ name: "smoke", private: true }));
  const quiet = ["--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"];
  await run("npm", "install", tarball, ...packages, ...quiet);
}

function versionOf({ directory }: Project, name: string): string {
  return JSON.parse(readFileSync(join(directory, `node_modules/${name}/package.json`), "utf8"))
    .version;
}

/** A runtime of JavaScript, as the npm package that carries it. */
function runtime(name: string, packageName: string, version: string, ...args: string[]): Target {
  return {
    name,
    async run(project) {
      await install(project);
      project.write("smoke.mjs", await smokeAs("esm"));
      project.write("main.mjs", main);
      const command = ["-y", "-p", `${packageName}@${version}`, packageName];
      const printed = await project.run("npx", ...command, ...args, "main.mjs");
      const told = await project.run("npx", ...command, "--version");
      return { version: /\d+(\.\d+)+/.exec(told)?.[0] ?? version, verdicts: verdictsIn(printed) };
    },
  };
}

const commonJs: Target = {
  name: "Node 20, CommonJS",
  async run(project) {
    await install(project);
    project.write("smoke.cjs", await smokeAs("cjs"));
    project.write("main.cjs", mainInCommonJs);
    const verdicts = verdictsIn(await project.run(process.execPath, "main.cjs"));
    return { version: process.versions.node, verdicts };
  },
};

/** What a bundler makes is run alone: beside it lies no node_modules. */
async function runBundle(project: Project, file: string): Promise<Verdicts> {
  await project.run("mv", "node_modules", "installed");
  return verdictsIn(await project.run(process.execPath, file));
}

// What a bundle in ESM needs for the CommonJS in it; also in docs/runtimes.md.
const banner =
  'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);';

function bundledByEsbuild(name: string, format: "cjs" | "esm", splitting: boolean): Target {
  return {
    name,
    async run(project) {
      await install(project);
      project.write("smoke.mjs", await smokeAs("esm"));
      const isEsm = format === "esm";
      project.write("main.mjs", isEsm ? main : mainWithoutAwait);
      await esbuild.build({
        entryPoints: [join(project.directory, "main.mjs")],
        absWorkingDir: project.directory,
        bundle: true,
        platform: "node",
        target: "node20",
        format,
        splitting,
        outdir: join(project.directory, "out"),
        outExtension: { ".js": isEsm ? ".mjs" : ".cjs" },
        ...(isEsm && { banner: { js: banner } }),
        logLevel: "silent",
      });
      const verdicts = await runBundle(project, `out/main.${isEsm ? "mjs" : "cjs"}`);
      return { version: esbuild.version, verdicts };
    },
  };
}

const webpack: Target = {
  name: "webpack",
  async run(project) {
    await install(project, "webpack@5.113.0", "webpack-cli@7");
    project.write("smoke.mjs", await smokeAs("esm"));
    project.write("main.mjs", main);
    project.write(
      "webpack.config.cjs",
      `module.exports = {
        mode: "production",
        target: "node20",
        entry: "./main.mjs",
        output: { filename: "main.cjs" },
        optimization: { minimize: false },
      };`,
    );
    await project.run("npx", "webpack", "build");
    const version = versionOf(project, "webpack");
    return { version, verdicts: await runBundle(project, "dist/main.cjs") };
  },
};

const rollup: Target = {
  name: "rollup",
  async run(project) {
    const plugins = ["node-resolve@16", "commonjs@29", "json@6"].map(
      (each) => `@rollup/plugin-${each}`,
    );
    await install(project, "rollup@4.68.8", ...plugins);
    project.write("smoke.mjs", await smokeAs("esm"));
    project.write("main.mjs", main);
    project.write(
      "rollup.config.mjs",
      `import commonjs from "@rollup/plugin-commonjs";
       import json from "@rollup/plugin-json";
       import resolve from "@rollup/plugin-node-resolve";
       export default {
         input: "main.mjs",
         output: { dir: "out", format: "es", entryFileNames: "[name].mjs", chunkFileNames: "[name]-[hash].mjs" },
         plugins: [resolve({ preferBuiltins: true, exportConditions: ["node"] }), commonjs({ ignore: ["node:sqlite"] }), json()],
       };`,
    );
    await project.run("npx", "rollup", "--config", "rollup.config.mjs", "--silent");
    const version = versionOf(project, "rollup");
    return { version, verdicts: await runBundle(project, "out/main.mjs") };
  },
};

const next: Target = {
  name: "Next.js, a route handler",
  async run(project) {
    await install(project, "next@16.4.6", "react@19", "react-dom@19");
    await project.run("mkdir", "-p", "app/smoke");
    project.write("app/smoke/smoke.mjs", await smokeAs("esm"));
    project.write(
      "app/smoke/route.js",
      `import { smoke } from "./smoke.mjs";
       export const dynamic = "force-dynamic";
       export const GET = async () => Response.json(await smoke(process.env.ORIGIN));`,
    );
    project.write(
      "app/layout.js",
      "export default ({ children }) => <html><body>{children}</body></html>;",
    );
    project.write("next.config.mjs", "export default {};");
    project.write(
      "serve.mjs",
      `import { spawn } from "node:child_process";
       const server = spawn("npx", ["next", "start", "-p", "0", "-H", "127.0.0.1"], { detached: true });
       let told = "";
       server.stdout.on("data", async (chunk) => {
         told += chunk;
         const port = /127\\.0\\.0\\.1:(\\d+)/.exec(told)?.[1];
         if (port === undefined || !told.includes("Ready")) return;
         server.stdout.removeAllListeners("data");
         const response = await fetch(\`http://127.0.0.1:\${port}/smoke\`);
         const text = await response.text();
         console.log(\`verdicts: \${text}\`);
         process.kill(-server.pid);
         process.exit(0);
       });`,
    );
    await project.run("npx", "next", "build");
    const verdicts = verdictsIn(await project.run(process.execPath, "serve.mjs"));
    return { version: versionOf(project, "next"), verdicts };
  },
};

const jest: Target = {
  name: "Jest with ts-jest, CommonJS",
  async run(project) {
    await install(project, "jest@30.5.2", "ts-jest@29.4.15", "typescript@5", "@types/node@20");
    project.write("smoke.ts", smokeSource);
    project.write(
      "smoke.test.ts",
      `import { smoke } from "./smoke";
       declare const test: (name: string, run: () => Promise<void>, timeoutMs: number) => void;
       test("everything", async () => {
         const verdicts = await smoke(process.env.ORIGIN as string);
         process.stdout.write(\`\\nverdicts: \${JSON.stringify(verdicts)}\\n\`);
       }, 60_000);`,
    );
    project.write(
      "jest.config.cjs",
      `module.exports = {
        testEnvironment: "node",
        transform: { "^.+\\\\.ts$": ["ts-jest", { tsconfig: { module: "commonjs", moduleResolution: "node10", ignoreDeprecations: "5.0", target: "es2022", lib: ["es2023", "dom"], strict: true, esModuleInterop: true, types: ["node"], skipLibCheck: true } }] },
      };`,
    );
    const printed = await project.run("npx", "jest", "--ci", "--forceExit");
    return { version: versionOf(project, "jest"), verdicts: verdictsIn(printed) };
  },
};

const vitest: Target = {
  name: "Vitest, vmThreads",
  async run(project) {
    await install(project, "vitest@4.1.12");
    project.write("smoke.ts", smokeSource);
    project.write(
      "smoke.test.ts",
      `import { writeFileSync } from "node:fs";
       import { test } from "vitest";
       import { smoke } from "./smoke";
       test("everything", async () => {
         const verdicts = await smoke(process.env.ORIGIN as string);
         writeFileSync("verdicts.json", JSON.stringify(verdicts));
       }, 60_000);`,
    );
    await project.run("npx", "vitest", "run", "--pool", "vmThreads");
    const verdicts = JSON.parse(readFileSync(join(project.directory, "verdicts.json"), "utf8"));
    return { version: versionOf(project, "vitest"), verdicts };
  },
};

export const targets: readonly Target[] = [
  runtime("Node 20", "node", "20"),
  commonJs,
  runtime("Node 22", "node", "22"),
  runtime("Node 24", "node", "24"),
  runtime("Node, the newest", "node", "latest"),
  runtime("Bun", "bun", "1.4.5"),
  runtime("Deno", "deno", "2.9.6", "run", "-A"),
  bundledByEsbuild("esbuild, CommonJS", "cjs", false),
  bundledByEsbuild("esbuild, ESM", "esm", false),
  bundledByEsbuild("esbuild, ESM with splitting", "esm", true),
  webpack,
  rollup,
  next,
  jest,
  vitest,
];
