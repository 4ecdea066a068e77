import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** `npm run test:postgres`: the journal on a real PostgreSQL, which `npm test` does without. */
export default defineConfig({
  root: fileURLToPath(new URL("../..", import.meta.url)),
  resolve: { tsconfigPaths: true },
  test: {
    include: ["test/postgres/**/*.test.ts"],
    // Each file has a server of its own, and some stop it.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ["verbose"],
  },
});
