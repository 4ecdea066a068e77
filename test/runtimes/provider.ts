import { randomFillSync } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { hostname } from "node:os";
import sharp from "sharp";

/**
 * A provider for {@link smoke}: what it does is named by the request's model. It counts creates, and
 * runs in Node whatever the client runs in.
 */
export async function startProvider() {
  const small = await picture(8);
  const large = await picture(2_000);
  const creates: Record<string, number> = {};
  const count = (name: string) => {
    creates[name] = (creates[name] ?? 0) + 1;
  };
  const server = createServer(async (request, response) => {
    const json = (value: unknown) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify(value));
    };
    const image = (bytes: Buffer) => json({ data: [{ b64_json: bytes.toString("base64") }] });
    const url = (address: string) => json({ data: [{ url: address }] });
    const path = request.url ?? "";
    if (path === "/sizes") return json({ small: small.byteLength, large: large.byteLength });
    if (path.startsWith("/creates/")) return json(creates[path.slice("/creates/".length)] ?? 0);
    if (path === "/image.png") return response.end(small);
    if (path === "/secret.png") {
      count("secret");
      return response.end(small);
    }
    const model = await modelOf(request);
    count(model);
    switch (model) {
      case "small":
      case "journal":
        return image(small);
      case "large":
        return image(large);
      case "url":
        return url(`${origin}/image.png`);
      case "private-address":
        return url(`http://127.0.0.2:${port}/secret.png`);
      case "private-name":
        return url(`http://${hostname()}:${port}/secret.png`);
      case "reset":
        return request.socket.resetAndDestroy();
      case "slow":
        // Never: whoever asks leaves.
        return undefined;
      default:
        return response.writeHead(404).end();
    }
  });
  server.listen(0);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const origin = `http://127.0.0.1:${port}`;
  return {
    origin,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
    [Symbol.dispose]() {
      this.close();
    },
  };
}

async function modelOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString()).model;
}

/** Noise, which no PNG packs: 12 MB at 2,000 pixels a side. */
function picture(side: number): Promise<Buffer> {
  const pixels = randomFillSync(Buffer.alloc(side * side * 3));
  return sharp(pixels, { raw: { width: side, height: side, channels: 3 } })
    .png()
    .toBuffer();
}
