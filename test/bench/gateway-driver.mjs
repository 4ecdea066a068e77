/** Asks a gateway for pictures, so many at once, and says what came. Its own work is nobody's. */
import { createHash } from "node:crypto";
import { Agent, request } from "node:http";

const agent = new Agent({ keepAlive: true });

function post({ url, headers }) {
  const body = JSON.stringify({ model: "gpt-image-2", prompt: "A web", n: 1, size: "1024x1024" });
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      {
        ...{ agent, method: "POST" },
        headers: { "content-type": "application/json", "content-length": body.length, ...headers },
      },
      (response) => {
        const pieces = [];
        response.on("data", (piece) => pieces.push(piece));
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(pieces).toString("latin1");
          if (response.statusCode === 200) resolve(text);
          else reject(new Error(`${response.statusCode}: ${text.slice(0, 300)}`));
        });
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

function hashOf(text) {
  const start = text.indexOf('"b64_json":"') + '"b64_json":"'.length;
  const bytes = Buffer.from(text.slice(start, text.indexOf('"', start)), "base64");
  return createHash("sha256").update(bytes).digest("hex");
}

process.on("message", async ({ urls, headers, picture, atOnce, count }) => {
  const hashes = new Set();
  let begun = 0;
  const next = async () => {
    while (begun < count) {
      begun += 1;
      hashes.add(hashOf(await post({ url: urls[picture], headers: headers[picture] })));
    }
  };
  try {
    await Promise.all(Array.from({ length: atOnce }, next));
    process.send({ hashes: [...hashes], results: count });
  } catch (error) {
    process.send({ error: String(error) });
  }
});
process.once("disconnect", () => process.exit());
