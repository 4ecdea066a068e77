import { defineConfig } from "tsup";

const entry = {
  index: "src/index.ts",
  provider: "src/provider.ts",
  testing: "src/testing/index.ts",
};

const shared = {
  entry,
  target: "node20",
  platform: "node",
  splitting: true,
  sourcemap: false,
  // TypeScript 6 deprecates the `baseUrl` that tsup's declaration build sets by itself.
  dts: { compilerOptions: { ignoreDeprecations: "6.0", paths: {} } },
} as const;

export default defineConfig([
  { ...shared, entry, format: "esm", clean: true },
  // p-retry is ESM only, so the CommonJS build carries it and its one dependency along.
  { ...shared, entry, format: "cjs", noExternal: ["p-retry", "is-network-error"] },
]);
