#!/usr/bin/env bash
# zod 4.6.7, esbuild 0.27.7: a bundle of one schema of `zod/mini` holds every helper of zod's core (util.js).
# `zod/mini` is the build that is to be shaken, and imports that file by name; but one line reads
# `core.util.constantCatch`, through a namespace within a namespace, which esbuild keeps whole.
# Seen: 20,902 bytes minified for one `z.catch(z.string(), "none")`, and 9,627 once that line names `util` itself.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
echo '{ "private": true, "type": "module" }' > package.json
npm install --silent --no-audit --no-fund esbuild@0.27.7 zod@4.6.7
echo 'import * as z from "zod/mini"; console.log(z.catch(z.string(), "none").parse(7));' > app.js
size() { npx esbuild app.js --bundle --minify --platform=node --format=esm --log-level=error "--outfile=$1.mjs"; wc -c < "$1.mjs"; }
before=$(size before)
# The file imports both names for the same module.
sed -i 's/core\.util\.constantCatch/util.constantCatch/' node_modules/zod/v4/mini/schemas.js
after=$(size after)
echo "as published: $before bytes; with the helper by its own name: $after bytes"
[ "$(node before.mjs)" = none ] && [ "$(node after.mjs)" = none ] && [ $((before - after)) -gt 5000 ]
