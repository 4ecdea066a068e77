import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** `npm run test:network`: against real proxies, caches and gateways, which `npm test` does without. */
export default defineConfig({
  root: fileURLToPath(new URL("../..", import.meta.url)),
  resolve: { tsconfigPaths: true },
  test: {
    include: ["test/network/**/*.test.ts"],
    globalSetup: ["test/network/support/trust.ts"],
    setupFiles: ["test/network/support/setup.ts"],
    // One file after the other: the tests of idle connections measure real time.
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    reporters: ["verbose"],
  },
});
