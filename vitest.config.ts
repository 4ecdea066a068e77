import { fileURLToPath } from "node:url";
import { configDefaults, defineConfig } from "vitest/config";
import { packageTests } from "./test/package/vitest.config";

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

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
    include: ["test/**/*.test.ts"],
    // They need servers of other people's: `npm run test:network`, `test:postgres` and `test:queue`. Or they
    // start a process for each test: `npm run test:package`.
    exclude: [
      ...configDefaults.exclude,
      ...["test/network/**", "test/postgres/**", "test/queue/**", ...packageTests],
    ],
    // Machines are shared: what takes a second alone takes twenty beside other work.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Most of a file's time is waiting, for servers and child processes.
    maxWorkers: 3,
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
