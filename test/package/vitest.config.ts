import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** `npm run test:package`: what is packed, its API reference, the examples, the program, and processes that are killed. */
export const packageTests = [
  "test/package/package.test.ts",
  "test/package/docs-api.test.ts",
  "test/package/examples.test.ts",
  "test/crash/crash.test.ts",
  "test/doors/cli/kill-table.test.ts",
  "test/doors/cli/process.test.ts",
  "test/doors/cli/terminal.test.ts",
  "test/doors/gateway/crash.test.ts",
  "test/doors/router/claims.test.ts",
];

export default defineConfig({
  root: fileURLToPath(new URL("../..", import.meta.url)),
  resolve: { tsconfigPaths: true },
  test: {
    include: packageTests,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 3,
    maxConcurrency: 16,
  },
});
