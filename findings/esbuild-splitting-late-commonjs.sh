#!/usr/bin/env bash
# esbuild 0.27.7: a CommonJS package that is imported late, `await import("undici")`, has its named exports
# in a bundle of one file, and its default export alone in one with `splitting`, which tsup sets for ESM.
# Code that destructures what it imported late works in tests and fails in the split bundle.
# Seen: "function" without splitting, "undefined" with it; the default export has it in both.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
echo '{ "private": true, "type": "module" }' > package.json
npm install --silent --no-audit --no-fund esbuild@0.27.7 undici@7.30.2
cat > app.js <<'JS'
const late = await import("undici");
console.log(typeof late.Agent, typeof late.default.Agent);
JS
banner='import { createRequire } from "node:module"; const require = createRequire(import.meta.url);'
build() { npx esbuild app.js --bundle --platform=node --format=esm --log-level=error "--banner:js=$banner" "$@"; }
build --outdir=one
build --outdir=split --splitting
one=$(node one/app.js)
split=$(node split/app.js)
echo "one file: $one; splitting: $split"
[ "$one" = "function function" ] && [ "$split" = "undefined function" ]
