#!/usr/bin/env bash
# Bun 1.4.5 answers `import "undici"` with a stand-in of its own, although undici 7.30.2 is installed: its
# Agent has no `dispatch`, so code that sends through a dispatcher fails on Bun alone. The installed package
# is reached by a file of it, such as undici/index.js. Seen: "undefined", then "function".
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
echo '{ "private": true, "type": "module" }' > package.json
npm install --silent --no-audit --no-fund bun@1.4.5 undici@7.30.2
cat > by-name.js <<'JS'
import { Agent } from "undici";
console.log(typeof new Agent().dispatch);
JS
cat > by-file.js <<'JS'
import undici from "undici/index.js";
console.log(typeof new undici.Agent().dispatch);
JS
by_name=$(npx bun by-name.js)
by_file=$(npx bun by-file.js)
echo "by name: $by_name, by file: $by_file"
[ "$by_name" = undefined ] && [ "$by_file" = function ]
