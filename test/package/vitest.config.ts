import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** `npm run test:package`: what is packed, the examples and the program, each in processes of their own. */
export const packageTests = [
  "test/package/package.test.ts",
  "test/package/examples.test.ts",
  "test/doors/cli/process.test.ts",
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
