import { fileURLToPath } from "node:url";
import { configDefaults, defineConfig } from "vitest/config";
import { packageTests } from "./test/package/vitest.config.ts";

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

/** They replace what a process has one of, a module or `fetch`, so each has a process of its own. */
export const aloneInTheirProcess = [
  "test/adapter/compiled.test.ts",
  "test/adapter/contract.test.ts",
  "test/api/redaction.test.ts",
  "test/http/proxy.test.ts",
  "test/http/transport-guard.test.ts",
  "test/package/docs-snippets.test.ts",
  "test/providers/*.test.ts",
  "test/testing/sandbox-pictures.test.ts",
];

// They need servers of other people's: `npm run test:network`, `test:postgres` and `test:queue`. Or what
// they try are processes, packed, built or killed: `npm run test:package`.
const excluded = [
  ...configDefaults.exclude,
  ...["test/network/**", "test/postgres/**", "test/queue/**", ...packageTests],
];

export default defineConfig({
  resolve: {
    alias: [
      { find: /^gpt-image-client$/, replacement: source("index.ts") },
      { find: /^gpt-image-client\/ai-sdk$/, replacement: source("doors/ai-sdk/index.ts") },
      { find: /^gpt-image-client\/bullmq$/, replacement: source("doors/bullmq/index.ts") },
      { find: /^gpt-image-client\/gateway$/, replacement: source("doors/gateway/index.ts") },
      { find: /^gpt-image-client\/postgres$/, replacement: source("doors/postgres/index.ts") },
      { find: /^gpt-image-client\/provider$/, replacement: source("provider.ts") },
      { find: /^gpt-image-client\/router$/, replacement: source("doors/router/index.ts") },
      { find: /^gpt-image-client\/testing$/, replacement: source("testing/index.ts") },
    ],
  },
  test: {
    projects: [
      {
        extends: true,
        // Loading the modules anew for each file took as much processor time as its tests.
        test: {
          name: "shared",
          include: ["test/**/*.test.ts"],
          exclude: [...excluded, ...aloneInTheirProcess],
          isolate: false,
        },
      },
      {
        extends: true,
        test: { name: "alone", include: aloneInTheirProcess, exclude: excluded },
      },
    ],
    // Before each test, so that a file that forgets to does not fail the next one's tests.
    unstubEnvs: true,
    unstubGlobals: true,
    // Machines are shared: what takes a second alone takes twenty beside other work.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Most of a file's time is waiting, for servers and child processes.
    maxWorkers: 4,
    // Those that say that they may run at once wait for a server, or for their own time.
    maxConcurrency: 16,
    coverage: {
      include: ["src/**"],
      reporter: ["text", "json-summary"],
      // The router's and the gateway's branches are covered to some 88 %, all others to 95: to be raised.
      thresholds: { lines: 94, branches: 91 },
    },
  },
});
