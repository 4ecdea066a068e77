#!/usr/bin/env bash
# openai 6.49.0 types `image` of `images.edit` as Uploadable, and a Blob passes at run time wherever a File does.
# A Blob without a name is left out of the form, and nothing is said: the request goes out with its prompt and its
# model alone, which a server may answer with an edit of nothing, and bill. The same bytes as a File, or through
# `toFile`, are sent. A list of one Blob is left out as well.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
echo '{ "private": true, "type": "module" }' > package.json
npm install --silent --no-audit --no-fund openai@6.49.0
cat > parts.js <<'JS'
import { createServer } from "node:http";
import OpenAI, { toFile } from "openai";

let parts;
const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString("latin1");
  parts = [...body.matchAll(/; name="([^"]+)"/g)].map(([, name]) => name).sort();
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ created: 1, data: [{ b64_json: "AAAA" }] }));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const baseURL = `http://127.0.0.1:${server.address().port}/v1`;
const client = new OpenAI({ apiKey: "key", baseURL, maxRetries: 0 });
const bytes = Buffer.from("89504e470d0a1a0a", "hex");
const type = "image/png";
const blob = new Blob([bytes], { type });
const images = {
  blob,
  "blob in a list": [blob],
  file: new File([bytes], "a.png", { type }),
  toFile: await toFile(blob, "a.png", { type }),
};
for (const [name, image] of Object.entries(images)) {
  await client.images.edit({ model: "gpt-image-2", prompt: "a cat", image });
  console.log(`${name}: ${parts.join(" ")}`);
}
server.close();
JS
seen=$(node parts.js)
echo "$seen"
[ "$seen" = "blob: model prompt
blob in a list: model prompt
file: image model prompt
toFile: image model prompt" ]
