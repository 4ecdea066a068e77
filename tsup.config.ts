import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { resolve } from "node:path";
import { transform } from "esbuild";
import { defineConfig, type Options } from "tsup";

/**
 * What dist carries along: of zod the tenth that is used, without its 80 files and every locale, so
 * that importing this package takes a quarter of the time; and p-retry, which is ESM only.
 */
const bundled = ["zod", "p-retry", "is-network-error"];

const entry = {
  index: "src/index.ts",
  provider: "src/provider.ts",
  testing: "src/testing/index.ts",
  "ai-sdk": "src/doors/ai-sdk/index.ts",
  bullmq: "src/doors/bullmq/index.ts",
  gateway: "src/doors/gateway/index.ts",
  postgres: "src/doors/postgres/index.ts",
  router: "src/doors/router/index.ts",
};

type EsbuildPlugin = NonNullable<Options["esbuildPlugins"]>[number];

/**
 * Has esbuild make fewer files of what an import of the package and a first call load, each of which takes
 * Node about half a millisecond. It makes a file of the sources that the same entries reach, and what is
 * loaded late is an entry to it. Here every late one reaches the whole core, which is there by the time that
 * it is loaded. So do `provider` and `testing`, each of which shares a part of the core: that would be a
 * file of its own.
 */
const fewerFiles: EsbuildPlugin = {
  name: "fewer-files",
  setup(build) {
    // esbuild warns of the import below in each of them: of use is only what it does to the files that are made.
    build.initialOptions.logOverride = {
      ...build.initialOptions.logOverride,
      "ignored-bare-import": "silent",
    };
    const reaching = new Set([resolve(entry.provider), resolve(entry.testing)]);
    build.onResolve({ filter: /^\./ }, ({ kind, path, resolveDir, importer }) => {
      const isDoor = importer.includes("/src/doors/");
      if (kind === "dynamic-import" && !isDoor) reaching.add(resolve(resolveDir, `${path}.ts`));
      return undefined;
    });
    build.onLoad({ filter: /\/src\/.+\.ts$/ }, ({ path }) =>
      reaching.has(path)
        ? { contents: `import "core:";${readFileSync(path, "utf8")}`, loader: "ts" }
        : undefined,
    );
    // With side effects, or esbuild would drop an import that takes no name.
    build.onResolve({ filter: /^core:$/ }, () => ({
      path: resolve(entry.index),
      sideEffects: true,
    }));
  },
};

/**
 * Leaves half of zod's helpers out, 13 KB: for one constant, the mini build names all of them at once by
 * their namespace, which no bundler can take apart.
 */
const fewerHelpers: EsbuildPlugin = {
  name: "fewer-helpers",
  setup(build) {
    build.onLoad({ filter: /\/zod\/v4\/mini\/schemas\.js$/ }, ({ path }) => {
      const text = readFileSync(path, "utf8");
      const contents = text.replaceAll("core.util.constantCatch", "util.constantCatch");
      // `util` is what `core.util` is: the file imports both.
      if (contents === text) throw new Error("zod names its helpers otherwise by now");
      return { contents, loader: "js" };
    });
  },
};

/** Built as CommonJS for both formats; the file itself says why. */
const undiciFiles = "undici-files";

const undiciApart: EsbuildPlugin = {
  name: "undici-apart",
  setup(build) {
    build.onResolve({ filter: new RegExp(`^\\./${undiciFiles}$`) }, () => ({
      path: `./${undiciFiles}.cjs`,
      external: true,
    }));
  },
};

const shared = {
  entry,
  target: "node20",
  platform: "node",
  splitting: true,
  sourcemap: false,
  // TypeScript 6 deprecates the `baseUrl` that tsup's declaration build sets by itself.
  dts: { entry, compilerOptions: { ignoreDeprecations: "6.0", paths: {} } },
} as const;

/** Their licences ask to go wherever the code goes. */
async function writeLicenses(): Promise<void> {
  const licenses = bundled.map((name) => {
    const folder = `node_modules/${name}`;
    const file = readdirSync(folder).find((each) => /^licen[sc]e/i.test(each)) ?? "LICENSE";
    return `${name}\n\n${readFileSync(`${folder}/${file}`, "utf8").trim()}\n`;
  });
  writeFileSync("dist/licenses.txt", licenses.join("\n---\n\n"));
}

const lateRequires = { "dynamic-import": false };

/**
 * CommonJS chunk by chunk, by esbuild. What tsup would call for that lowers class fields, which leaves
 * every error class nameless (`_class3 [AuthenticationError]`), and `?.` and `??`. Late imports become
 * `require`: test runners run CommonJS in a context without `import()`.
 */
const commonJs: NonNullable<Options["plugins"]>[number] = {
  name: "commonjs",
  async renderChunk(code, { path }) {
    if (!path.endsWith(".cjs")) return undefined;
    const { target, platform } = shared;
    return transform(code, { format: "cjs", target, platform, supported: lateRequires });
  },
};

/** Imported all the same: a test's fake timers replace what Node gives who asks, and not what was imported. */
const imported = new Set(["timers", "timers/promises"]);

/**
 * Asks Node for its own modules in place of importing them: an import evaluates every export, and for
 * `crypto` that loads all of WebCrypto. A first image takes three to five per cent less without (the row
 * "start" of the benchmarks).
 */
const builtinsAsked: NonNullable<Options["plugins"]>[number] = {
  name: "builtins-asked",
  renderChunk(code, { path }) {
    if (!path.endsWith(".js")) return undefined;
    const isAsked = (id: string | undefined) => isBuiltin(id ?? "") && !imported.has(id ?? "");
    const asked: string[] = [];
    const rest = code.replace(
      /^import (?:(\{[^}]*\})|(?:\* as )?(\w+)) from "([\w/]+)";\n/gm,
      (statement, names: string | undefined, whole: string | undefined, id: string) => {
        // What a module has by default is itself, and no property of it.
        if (!isAsked(id) || /\bdefault\b/.test(names ?? "")) return statement;
        const target = whole ?? names?.replaceAll(" as ", ": ");
        asked.push(`const ${target} = process.getBuiltinModule("node:${id}");\n`);
        return "";
      },
    );
    for (const [statement, id] of rest.matchAll(/^import\b[^;]*?"([^".][^"]*)";$/gm)) {
      if (isAsked(id)) throw new Error(`Not understood: ${statement}`);
    }
    const shebang = /^#!.*\n/.exec(rest)?.[0] ?? "";
    return { code: `${shebang}${asked.join("")}${rest.slice(shebang.length)}` };
  },
};

const builds: Options[] = [
  {
    ...shared,
    // A program, which nobody imports: it needs no CommonJS and no declarations.
    entry: { ...shared.entry, cli: "src/doors/cli/main.ts" },
    noExternal: bundled,
    esbuildPlugins: [undiciApart, fewerFiles, fewerHelpers],
    plugins: [builtinsAsked],
    format: "esm",
    dts: false,
    onSuccess: writeLicenses,
  },
  {
    ...shared,
    noExternal: bundled,
    esbuildPlugins: [undiciApart, fewerFiles, fewerHelpers],
    format: "esm",
    outExtension: () => ({ js: ".cjs" }),
    plugins: [commonJs],
    dts: false,
  },
  {
    ...shared,
    entry: { [undiciFiles]: `src/http/${undiciFiles}.ts` },
    format: "cjs",
    splitting: false,
    dts: false,
    // What it imports late is required late.
    esbuildOptions: (options) => void Object.assign(options, { supported: lateRequires }),
    // The function is the module, whoever imports it: bundlers disagree about a default export of CommonJS.
    // `cjsInterop` would say nothing here: esbuild has given `module.exports` anew by then.
    footer: { js: "module.exports = module.exports.default;" },
  },
  // The declarations of both, which tsup names by the format: of one program, since that takes longest.
  { ...shared, format: ["esm", "cjs"], dts: { ...shared.dts, only: true } },
];

export default defineConfig(() => {
  // Not by `clean`: the builds run in parallel, and one would delete another's files.
  rmSync("dist", { recursive: true, force: true });
  return builds;
});
