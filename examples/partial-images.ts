/**
 * A picture that gets sharper in a web page. `npx tsx examples/partial-images.ts --serve` waits for a browser;
 * without `--serve` it visits the page itself, and ends.
 */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline/promises";
import { Readable } from "node:stream";
import { createImageClient, isImageError, openai } from "gpt-image-client";
import { startServices } from "./support";

const isServing = process.argv.includes("--serve");
await using services = await startServices(
  isServing ? { jobDurationMs: 2_000 } : { plainImages: true },
);
await using client = createImageClient({ provider: openai(services.openai) });

/** What the page may fetch, by its address. In your app: for a short time, and for its user alone. */
const pictures = new Map<string, { readonly bytes: Uint8Array; readonly mediaType: string }>();

/** Orders a picture, and tells the page of it line by line. A page that leaves does not end what is paid for. */
async function draw(prompt: string, response: ServerResponse): Promise<void> {
  response.writeHead(200, { "content-type": "application/x-ndjson", "cache-control": "no-store" });
  const tell = (line: object) => response.write(`${JSON.stringify(line)}\n`);
  try {
    const { image, job, cost } = await client.generate(
      { prompt, size: "1024x1024", quality: "low", partialImages: 3 },
      {
        onEvent(event) {
          if (event.type !== "partial") return;
          const url = `/pictures/${event.jobId}/${event.index}`;
          pictures.set(url, event);
          // The JSON of an event is safe for a browser, and has no bytes in it.
          tell({ url, event });
        },
      },
    );
    const url = `/pictures/${job.id}/done`;
    const { mediaType } = await image.info();
    pictures.set(url, { bytes: await image.bytes(), mediaType });
    tell({ url, done: true, cost });
  } catch (error) {
    if (!isImageError(error)) throw error;
    tell({ error: error.code, charged: error.charged });
  }
  response.end();
}

const page = /* HTML */ `<!doctype html>
  <meta charset="utf-8" />
  <title>A picture that gets sharper</title>
  <style>
    body { font: 16px system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; background: #16181d; color: #eee }
    img { display: block; width: 100%; border-radius: 8px }
    ol { display: flex; gap: 1rem; padding: 0; list-style: none }
    li { flex: 0 0 calc(25% - 0.75rem) }
    form, p { margin: 1rem 0 }
    input { width: 30rem; max-width: 70%; font: inherit; padding: 0.4rem }
  </style>
  <form><input name="prompt" value="A dew-covered web at sunrise" /> <button>Draw</button></form>
  <p id="state">Nothing was ordered yet.</p>
  <img id="picture" alt="" hidden />
  <ol id="steps"></ol>
  <script type="module">
    const [state, picture, steps] = ["state", "picture", "steps"].map((id) => document.getElementById(id));
    document.forms[0].addEventListener("submit", async (submit) => {
      submit.preventDefault();
      steps.replaceChildren();
      state.textContent = "ordered …";
      // Not an EventSource: it would connect again by itself, and order another picture.
      const prompt = document.forms[0].prompt.value;
      const response = await fetch("/draw", { method: "POST", body: prompt });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (let read = await reader.read(); !read.done; read = await reader.read()) {
        text += read.value;
        for (let end = text.indexOf("\\n"); end !== -1; end = text.indexOf("\\n")) {
          show(JSON.parse(text.slice(0, end)));
          text = text.slice(end + 1);
        }
      }
    });
    function show({ url, event, done, error, charged }) {
      if (error) {
        state.textContent = error + ", charged: " + charged;
        return;
      }
      const words = done ? "done" : "partial image " + (event.index + 1) + ", " + event.byteLength + " bytes";
      state.textContent = words;
      picture.hidden = false;
      picture.src = url;
      const step = document.createElement("li");
      step.append(Object.assign(new Image(), { src: url }), words);
      steps.append(step);
      document.body.dataset.done = String(Boolean(done));
    }
  </script>`;

const server = createServer(async (request, response) => {
  const picture = pictures.get(request.url ?? "");
  if (picture !== undefined) {
    response.writeHead(200, {
      "content-type": picture.mediaType,
      "x-content-type-options": "nosniff",
    });
    response.end(picture.bytes);
  } else if (request.method === "POST" && request.url === "/draw") {
    let prompt = "";
    for await (const chunk of request) prompt += chunk;
    await draw(prompt, response);
  } else if (request.url === "/") {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
    response.end(page);
  } else response.writeHead(404).end();
});
await new Promise<void>((resolve) => server.listen(isServing ? 8_080 : 0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

if (isServing) {
  console.log(`Open ${origin} and press "Draw"; Ctrl+C ends it.`);
  await new Promise((resolve) => process.once("SIGINT", resolve));
} else {
  const response = await fetch(`${origin}/draw`, { method: "POST", body: "A web at sunrise" });
  if (response.body === null) throw new Error("the page was told nothing");
  for await (const line of createInterface({ input: Readable.fromWeb(response.body) })) {
    const { url, done } = JSON.parse(line);
    const bytes = await (await fetch(origin + url)).arrayBuffer();
    console.log(done ? "the picture" : "a partial image", `of ${bytes.byteLength} bytes`);
  }
}
server.close();
server.closeAllConnections();
