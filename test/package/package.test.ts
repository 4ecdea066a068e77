import { execFile } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createRequire, isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startSandbox } from "gpt-image-client/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const run = promisify(execFile);
const require = createRequire(import.meta.url);
const root = fileURLToPath(new URL("../..", import.meta.url));
const tool = (name: string) => join(root, "node_modules/.bin", name);
// npm tells the scripts that it runs which package they are of; the commands here are of another.
const env = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^(npm_(lifecycle|package|command|config_local)|NODE_OPTIONS$|VITEST)/.test(name),
  ),
);

let place = "";
let tarball = "";
/** An empty project with the packed package in it. */
let project = "";

beforeAll(async () => {
  if (!isBuilt()) await run("npm", ["run", "build"], { cwd: root, env });
  place = await mkdtemp(join(tmpdir(), "gpt-image-client-"));
  const packed = await run(
    "npm",
    ["pack", "--ignore-scripts", "--json", "--pack-destination", place],
    {
      cwd: root,
      env,
    },
  );
  const [{ filename, size, unpackedSize }] = JSON.parse(packed.stdout);
  tarball = join(place, filename);
  console.log(`packed: ${kilobytes(size)}, unpacked: ${kilobytes(unpackedSize)}`);
  project = join(place, "project");
  await mkdir(project);
  await write("package.json", JSON.stringify({ name: "user", private: true }));
  const quiet = ["--prefer-offline", "--no-audit", "--no-fund"];
  await run("npm", ["install", tarball, ...quiet], { cwd: project, env, timeout: 90_000 });
}, 180_000);

afterAll(async () => {
  if (place !== "") await rm(place, { recursive: true, force: true });
});

/** Whether dist is there and newer than every source: `npm run test:package` has built it just before. */
function isBuilt(): boolean {
  const built = join(root, "dist/index.js");
  if (!existsSync(built)) return false;
  const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" });
  const builtAt = statSync(built).mtimeMs;
  return sources.every((name) => statSync(join(root, "src", name)).mtimeMs <= builtAt);
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(0)} kB`;
}

/** What of the package the project loads. */
const dist = () => join(project, "node_modules/gpt-image-client/dist");

async function write(name: string, text: string): Promise<string> {
  const path = join(project, name);
  await writeFile(path, text);
  return path;
}

/** Runs a file of the project in a process of its own, and gives what it printed. */
async function node(name: string, text: string, more: Record<string, string> = {}) {
  const path = await write(name, text);
  const options = { cwd: project, env: { ...env, ...more }, timeout: 20_000 };
  const { stdout } = await run(process.execPath, [path], options);
  return stdout.trim();
}

/** What a program printed that takes these names of the package as an ES module, and as CommonJS. */
async function inEachFormat(names: string, text: string, more: Record<string, string> = {}) {
  const imported = `import ${names} from "gpt-image-client";\n${text}`;
  const required = `const ${names} = require("gpt-image-client");\n(async () => {${text}})();`;
  return [await node("format.mjs", imported, more), await node("format.cjs", required, more)];
}

/** Runs a tool of ours in the project, and gives what it printed, also where it found fault. */
async function verdict(name: string, ...args: string[]): Promise<string> {
  try {
    return (await run(tool(name), args, { cwd: project, env })).stdout;
  } catch (error) {
    if (error instanceof Error && "stdout" in error && error.stdout) return String(error.stdout);
    throw error;
  }
}

describe("the command", () => {
  const command = () => join(project, "node_modules/.bin/gpt-image-client");

  test("runs by its name, and makes a picture without a key and without an optional package", async () => {
    const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
    const told = await run(command(), ["--version"], { cwd: project, env });
    expect(told.stdout).toBe(`${version}\n`);
    const state = { ...env, XDG_STATE_HOME: join(place, "state") };
    const argv = ["generate", "--provider", "sandbox", "A fox in the snow"];
    const { stdout } = await run(command(), argv, { cwd: project, env: state, timeout: 60_000 });
    const bytes = await readFile(stdout.trimEnd());
    expect(bytes.subarray(0, 4).toString("hex")).toBe("89504e47");
    await rm(stdout.trimEnd());
  });

  test("asks for sharp before it pays for what only that can draw", async () => {
    const state = { ...env, XDG_STATE_HOME: join(place, "state") };
    const argv = ["generate", "--provider", "sandbox", "--sheet", "A fox in the snow"];
    const failing = run(command(), argv, { cwd: project, env: state, timeout: 60_000 });
    await expect(failing).rejects.toMatchObject({
      ...{ code: 2, stdout: "" },
      stderr: expect.stringContaining("npm install sharp"),
    });
  });
});

describe("the tarball", () => {
  test("holds dist, docs, examples and what npm always packs, and nothing else", async () => {
    const { stdout } = await run("tar", ["tzf", tarball]);
    const files = stdout.trim().split("\n");
    const others = files.filter((file) => !/^package\/(dist|docs|examples)\//.test(file));
    expect(others.sort()).toEqual([
      ...["package/CHANGELOG.md", "package/LICENSE", "package/README.md", "package/package.json"],
    ]);
    // What the README shows and what it names first.
    for (const path of [
      "docs/contact-sheet.png",
      "docs/getting-started.md",
      "examples/generate.ts",
    ]) {
      expect(files).toContain(`package/${path}`);
    }
    for (const entry of [
      "index",
      "ai-sdk",
      "bullmq",
      "gateway",
      "postgres",
      "provider",
      "router",
      "testing",
    ]) {
      for (const ending of ["js", "d.ts", "cjs", "d.cts"]) {
        expect(files).toContain(`package/dist/${entry}.${ending}`);
      }
    }
  });

  test("gives publint nothing to say", async () => {
    expect(await verdict("publint", "run", tarball, "--strict")).toContain("All good!");
  });

  test("has the right types for every way of resolving it", async () => {
    expect(await verdict("attw", tarball, "--no-emoji", "--no-color")).toContain(
      "No problems found",
    );
  }, 60_000);
});

const entries = {
  "gpt-image-client": ["createImageClient", "trinetra", "isImageError", "localFile"],
  "gpt-image-client/ai-sdk": ["imageModel", "createImageProvider", "imageOptions"],
  "gpt-image-client/bullmq": ["addImageJob", "createImageProcessor", "listUnknown"],
  "gpt-image-client/gateway": ["createImageGateway", "directoryStore"],
  "gpt-image-client/postgres": [
    ...["createPostgresGatewayStore", "createPostgresJournal", "createPostgresLedgerStore"],
    ...["migrate", "migrations"],
  ],
  "gpt-image-client/provider": ["defineProvider", "defineOperation", "readStatus"],
  "gpt-image-client/router": ["createImageRouter", "memoryLedger", "jsonLinesLedger"],
  "gpt-image-client/testing": ["fakeImageClient", "startSandbox"],
};

describe("installed into an empty project", () => {
  test.each(Object.entries(entries))("%s loads with import and with require", async (name, has) => {
    const typesOf = `console.log(JSON.stringify(${JSON.stringify(has)}.map((each) => typeof loaded[each])));`;
    const imported = await node("a.mjs", `import * as loaded from "${name}"; ${typesOf}`);
    const required = await node("a.cjs", `const loaded = require("${name}"); ${typesOf}`);
    const functions = has.map(() => "function");
    expect(JSON.parse(imported)).toEqual(functions);
    expect(JSON.parse(required)).toEqual(functions);
  });

  test("the errors of an imported and a required copy understand each other", async () => {
    const printed = await node(
      "copies.mjs",
      `import { createRequire } from "node:module";
       import * as esm from "gpt-image-client";
       const cjs = createRequire(import.meta.url)("gpt-image-client");
       const facts = { charged: "no" };
       const ours = new esm.ModerationError(facts);
       const theirs = new cjs.ModerationError(facts);
       console.log(JSON.stringify([
         esm.ImageError === cjs.ImageError,
         theirs instanceof esm.ImageError,
         esm.isImageError(theirs), cjs.isImageError(ours),
         esm.isImageError(new Error("no")), theirs.code === ours.code,
       ]));`,
    );
    const [sameClass, isInstance, ...understood] = JSON.parse(printed);
    expect({ sameClass, isInstance }).toEqual({ sameClass: false, isInstance: false });
    expect(understood).toEqual([true, true, false, true]);
  });

  test("a process in which no text becomes a function makes pictures as any other", async () => {
    await using sandbox = await startSandbox({ plainImages: true });
    const { baseURL, apiKey } = sandbox.openaiCompatible;
    const printed = await node(
      "strict.mjs",
      `import { createImageClient, openaiCompatible } from "gpt-image-client";
       const provider = openaiCompatible(${JSON.stringify({ baseURL, apiKey })});
       const client = createImageClient({ provider });
       const { image } = await client.generate({ prompt: "A boat" });
       const wrong = client.check({ prompt: "", n: "1" }).map(({ field }) => field);
       let isForbidden = false;
       try { new Function(""); } catch { isForbidden = true; }
       console.log(JSON.stringify([(await image.info()).mediaType, wrong, isForbidden]));`,
      { NODE_OPTIONS: "--disallow-code-generation-from-strings" },
    );
    expect(JSON.parse(printed)).toEqual(["image/png", ["prompt", "n"], true]);
  });

  test("a local file of one copy is a local file of the other", async () => {
    const printed = await node(
      "local-file.mjs",
      `import { createRequire } from "node:module";
       import { createImageClient, openai } from "gpt-image-client";
       const { localFile } = createRequire(import.meta.url)("gpt-image-client");
       const client = createImageClient({ provider: openai() });
       const images = [localFile("a.png")];
       console.log(client.check({ prompt: "Make it snow", images }).length);`,
    );
    expect(printed).toBe("0");
  });

  test("type-checks for a CommonJS and an ESM user, strictly and with the libraries checked", async () => {
    const body = `
      const client: ImageClient = createImageClient({ provider: trinetra({ apiKey: "key" }) });
      export async function draw(prompt: string): Promise<string> {
        try {
          const { image, cost } = await client.generate({ prompt, aspectRatio: "3:2", n: 2 });
          const unit: string | undefined = cost?.unit;
          return (unit ?? "") + (await image.save("a.png"));
        } catch (error) {
          if (isImageError(error) && error.code === "timeout") return String(error.timeoutMs);
          throw error;
        }
      }
      // By the DOM's types a body is in memory that no thread shares.
      export const show = async ({ image }: ImageResult) => new Response(await image.bytes());
      export const upload: Upload = async ({ bytes }) => {
        const { url } = await fetch("https://files.example/a.png", { method: "PUT", body: bytes });
        return url;
      };
      export const fake = fakeImageClient({ images: [new Uint8Array([1])] });
      export const define = defineProvider;
      export const model = imageModel(fake, { modelId: "mine" });
      export const models = createImageProvider({ mine: fake });
      const nobody: PostgresPool = { query: async () => ({ rows: [] }) };
      export const journal: Journal = createPostgresJournal(nobody);
      // @ts-expect-error a number is no prompt
      export const wrong = client.generate({ prompt: 1 });`;
    const imports = `
      import { createImageClient, type ImageClient, type ImageResult, isImageError, type Journal, trinetra, type Upload } from "gpt-image-client";
      import { createImageProvider, imageModel } from "gpt-image-client/ai-sdk";
      import { createPostgresJournal, type PostgresPool } from "gpt-image-client/postgres";
      import { defineProvider } from "gpt-image-client/provider";
      import { fakeImageClient } from "gpt-image-client/testing";`;
    await write("user.mts", imports + body);
    await write("user.cts", imports + body);
    const flags = [
      ...["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--skipLibCheck", "false"],
      ...["--module", "nodenext", "--target", "es2023", "--types", "node"],
      ...["--typeRoots", join(root, "node_modules/@types")],
    ];
    expect(await verdict("tsc", ...flags, "user.mts", "user.cts")).toBe("");
  }, 90_000);

  test.each(["cjs", "esm"])(
    "an esbuild bundle (%s) of an app that uses it runs",
    async (format) => {
      await using sandbox = await startSandbox({ jobDurationMs: 50, plainImages: true });
      const entry = await write(
        "app.mjs",
        `import { createImageClient, isImageError, trinetra } from "gpt-image-client";
       async function main() {
         const provider = trinetra(JSON.parse(process.env.SANDBOX));
         const client = createImageClient({ provider, poll: 20 });
         const { image } = await client.generate({ prompt: "test picture" });
         const { mediaType } = await image.info();
         const error = await client.generate({ prompt: "" }).catch((each) => each);
         console.log(JSON.stringify({ mediaType, code: isImageError(error) && error.code }));
       }
       main();`,
      );
      // esbuild as tsup brings it along.
      const esbuild = createRequire(require.resolve("tsup"))("esbuild");
      // Outside the project, so that nothing but the bundle itself can be loaded.
      const outfile = join(place, `bundle.${format === "esm" ? "mjs" : "cjs"}`);
      const { warnings } = await esbuild.build({
        ...{ entryPoints: [entry], outfile, format, bundle: true, platform: "node" },
        ...{ target: "node20", logLevel: "silent" },
        // undici is CommonJS and requires Node's own modules, which esbuild leaves to `require`.
        ...(format === "esm" && {
          banner: {
            js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
          },
        }),
      });
      expect(warnings).toEqual([]);
      const options = {
        env: { ...env, SANDBOX: JSON.stringify(sandbox.trinetra) },
        timeout: 20_000,
      };
      const { stdout } = await run(process.execPath, [outfile], options);
      expect(JSON.parse(stdout)).toEqual({ mediaType: "image/png", code: "invalid_request" });
      expect(sandbox.charges).toHaveLength(1);
    },
    60_000,
  );
});

const hosts: Readonly<Record<string, string>> = {
  shortapi: "https://api.shortapi.ai",
  aigptimage: "https://aigptimage.com",
  trinetra: "https://brahmand-api.bulletshorts.co",
  openai: "https://api.openai.com",
};

test.each(Object.keys(hosts))(
  "a bundle of an app that uses %s alone does not carry the other providers",
  async (name) => {
    const entry = await write(`${name}.mjs`, `export { ${name} } from "gpt-image-client";`);
    const esbuild = createRequire(require.resolve("tsup"))("esbuild");
    const { outputFiles } = await esbuild.build({
      ...{ entryPoints: [entry], bundle: true, write: false, format: "esm", platform: "node" },
    });
    const [{ text }] = outputFiles;
    const carried = Object.keys(hosts).filter((each) => text.includes(hosts[each]));
    expect(carried).toEqual([name]);
  },
);

test("where a part of the package cannot be loaded, nothing is sent and nothing paid", async () => {
  await using sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true });
  const edit = async () => {
    const text = `import { createImageClient, memoryJournal, shortapi } from "gpt-image-client";
      const webhooks = { secret: "a secret of some length", url: "http://127.0.0.1:9/", backstopMs: 20 };
      const provider = shortapi(JSON.parse(process.env.SANDBOX));
      const client = createImageClient({ provider, poll: 20, journal: memoryJournal(), webhooks });
      const request = { prompt: "test picture", images: ["https://example.com/a.png"] };
      const call = client.edit(request, { idempotencyKey: "order 7" });
      console.log(await call.then(() => "made", (error) => error.code));`;
    return node("parts.mjs", text, { SANDBOX: JSON.stringify(sandbox.shortapi) });
  };
  for (const part of ["runner", "recovery", "notifications"]) {
    const [file = ""] = readdirSync(dist()).filter((each) =>
      new RegExp(`^${part}-.*\\.js$`).test(each),
    );
    await rename(join(dist(), file), join(dist(), `away-${file}`));
    expect([part, await edit()]).toEqual([part, "generation_failed"]);
    await rename(join(dist(), `away-${file}`), join(dist(), file));
  }
  const undici = join(project, "node_modules", "undici");
  await rename(undici, `${undici}-away`);
  expect(await edit()).toBe("generation_failed");
  await rename(`${undici}-away`, undici);
  expect(sandbox.requests).toEqual([]);
  expect(await edit()).toBe("made");
  expect(sandbox.charges).toHaveLength(1);
}, 60_000);

test("a process that could not load undici sends once it can, from either format", async () => {
  await using sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true });
  const text = `const { renameSync } = await import("node:fs");
    const client = createImageClient({ provider: shortapi(JSON.parse(process.env.SANDBOX)), poll: 20 });
    const generate = () => client.generate({ prompt: "test picture" }).then(() => "made", (error) => error.code);
    renameSync("node_modules/undici", "node_modules/undici-away");
    const first = await generate();
    renameSync("node_modules/undici-away", "node_modules/undici");
    console.log(first, await generate());`;
  const given = { SANDBOX: JSON.stringify(sandbox.shortapi) };
  const printed = await inEachFormat("{ createImageClient, shortapi }", text, given);
  expect(printed).toEqual(["generation_failed made", "generation_failed made"]);
  expect(sandbox.charges).toHaveLength(2);
}, 60_000);

/** The files that an import of a file of dist loads, itself among them. */
async function loadedWith(file: string): Promise<string[]> {
  const loaded = new Set([file]);
  for (const each of loaded) {
    const text = await readFile(join(dist(), each), "utf8");
    const statements = text.matchAll(/^(?:import|export)\b[^'"();]*["']\.\/([^"']+)["'];$/gm);
    for (const [, name = ""] of statements) loaded.add(name);
  }
  return [...loaded];
}

test("an import of the package loads two files, and what sends five more", async () => {
  // Node takes about half a millisecond for each.
  const loaded = await loadedWith("index.js");
  expect(loaded).toHaveLength(2);
  const runner = readdirSync(dist()).find((each) => /^runner-.*\.js$/.test(each)) ?? "";
  const later = (await loadedWith(runner)).filter((each) => !loaded.includes(each));
  expect(later).toHaveLength(5);
});

test("no file of the package imports a module of Node's own but its timers", async () => {
  const files = readdirSync(dist()).filter((each) => each.endsWith(".js"));
  const imported: string[] = [];
  for (const each of files) {
    const text = await readFile(join(dist(), each), "utf8");
    for (const [, name = ""] of text.matchAll(/^import\b[^;]*?["']([^"'.][^"']*)["'];$/gm)) {
      if (isBuiltin(name)) imported.push(name);
    }
  }
  expect(files).toContain("index.js");
  expect(new Set(imported)).toEqual(new Set(["timers", "timers/promises"]));
});

test("a test that fakes timers before the first call stops no client, in either format", async () => {
  const pixel =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
  const text = `const { default: timers } = await import("node:timers");
    timers.setImmediate = globalThis.setImmediate = () => ({});
    let sent = 0;
    const fetch = async () => {
      sent += 1;
      return Response.json({ data: [{ b64_json: "${pixel}" }] });
    };
    const provider = openaiCompatible({ baseURL: "https://provider.example/v1", apiKey: "a-key" });
    const client = createImageClient({ provider, fetch });
    const calls = Array.from({ length: 40 }, () => client.generate({ prompt: "A boat" }));
    console.log((await Promise.all(calls)).length, sent);`;
  const printed = await inEachFormat("{ createImageClient, openaiCompatible }", text);
  expect(printed).toEqual(["40 40", "40 40"]);
}, 60_000);

describe("importing", () => {
  test.each(Object.keys(entries))("%s opens nothing: the process ends by itself", async (name) => {
    const printed = await node(
      "idle.mjs",
      // From Node 22 on its own "util" opens stderr: both are opened beforehand.
      `const streams = [process.stdout, process.stderr];
       const before = process.getActiveResourcesInfo();
       await import("${name}");
       const after = process.getActiveResourcesInfo();
       const importedAt = performance.now();
       process.on("exit", () => console.log(JSON.stringify({
         before, after, lingeredMs: performance.now() - importedAt,
       })));`,
    );
    const { before, after, lingeredMs } = JSON.parse(printed.split("\n").at(-1) ?? "");
    expect(after).toEqual(before);
    expect(lingeredMs).toBeLessThan(1_000);
  });

  test("takes less processor time than importing undici alone", async () => {
    // The processor's time, in pairs: the wall clock also tells what else the machine does.
    const microsecondsOf = async (name: string) =>
      Number(
        await node(
          "time.mjs",
          `const before = process.cpuUsage();
           await import("${name}");
           const { user, system } = process.cpuUsage(before);
           console.log(user + system);`,
        ),
      );
    const ratios: number[] = [];
    for (let round = 0; round < 7; round += 1) {
      const own = await microsecondsOf("gpt-image-client");
      ratios.push(own / (await microsecondsOf("undici")));
    }
    expect(ratios.sort((a, b) => a - b)[3]).toBeLessThan(1);
  }, 60_000);

  test.each(Object.keys(entries))("%s loads no package with import or require", async (name) => {
    // Whatever is loaded from the file system, in either way.
    const hooks = await write(
      "hooks.mjs",
      `import { appendFileSync } from "node:fs";
       export async function load(url, context, next) {
         if (url.startsWith("file:")) appendFileSync(process.env.LOADED, url + "\\n");
         return next(url, context);
       }`,
    );
    const loaded = join(place, "loaded.txt");
    await writeFile(loaded, "");
    await node(
      "loads.mjs",
      `import { register } from "node:module";
       register(${JSON.stringify(`file://${hooks}`)});
       await import("${name}");`,
      { LOADED: loaded },
    );
    const imported = (await readFile(loaded, "utf8")).trim().split("\n");
    const required = await node(
      "loads.cjs",
      `require("${name}"); console.log(Object.keys(require.cache).join("\\n"));`,
    );
    for (const files of [imported, required.split("\n")]) {
      const others = files.filter((file) => !/gpt-image-client\/dist\/|loads\.c?m?js$/.test(file));
      expect(files.some((file) => file.includes("gpt-image-client/dist/"))).toBe(true);
      expect(others).toEqual([]);
    }
  });
});
