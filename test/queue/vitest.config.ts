import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** `npm run test:queue`: BullMQ on a real Redis and a real PostgreSQL, which `npm test` does without. */
export default defineConfig({
  root: fileURLToPath(new URL("../..", import.meta.url)),
  resolve: { tsconfigPaths: true },
  test: {
    include: ["test/queue/**/*.test.ts"],
    // Each file has servers of its own, and some stop them.
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 60_000,
    reporters: ["verbose"],
  },
});
