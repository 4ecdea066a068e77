import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { snippetWith } from "../support/pages";
import { SnippetStage } from "../support/snippet-stage";

const page = "docs/getting-started.md";

/** A request of a browser, to whichever framework. */
type Send = (method: string, path: string, body?: object) => Promise<Response>;

let stage: SnippetStage;
beforeAll(async () => {
  // Long enough for a busy machine to ask while it runs.
  stage = await SnippetStage.start(2_000);
  // The others import it.
  await stage.run(snippetWith(page, "// pictures.ts"));
});
afterAll(() => stage[Symbol.asyncDispose]());

/** Asks for a picture, and again until it is there. */
async function pays(send: Send): Promise<void> {
  const before = stage.sandbox.charges.length;
  const created = await send("POST", "/pictures", { prompt: "A fox" });
  expect(created.status).toBe(202);
  // As the snippet answers it.
  const { id } = (await created.json()) as { id: string };
  let shown = await send("GET", `/pictures/${id}`);
  expect(shown.status).toBe(202);
  expect(await shown.json()).toHaveProperty("state");
  while (shown.status === 202) shown = await send("GET", `/pictures/${id}`);
  expect([shown.status, shown.headers.get("content-type")]).toEqual([200, "image/png"]);
  const picture = Buffer.from(await shown.arrayBuffer());
  expect(picture.subarray(1, 4).toString()).toBe("PNG");
  expect((await send("GET", "/pictures/nobodys")).status).toBe(404);
  expect(stage.sandbox.charges).toHaveLength(before + 1);
}

function requestTo(method: string, path: string, body?: object): Request {
  return new Request(`http://app.test${path}`, {
    method,
    ...(body && {
      body: JSON.stringify(body),
      headers: { "content-type": "application/json" },
    }),
  });
}

describe("a picture is paid for once, and shown when it is there, behind", () => {
  test("Next.js", async () => {
    // The signatures that the snippets show.
    const { POST } = (await stage.run(snippetWith(page, "// app/api/pictures/route.ts"))) as {
      POST(request: Request): Promise<Response>;
    };
    const { GET } = (await stage.run(snippetWith(page, "// app/api/pictures/[id]/route.ts"))) as {
      GET(request: Request, context: { params: Promise<{ id: string }> }): Promise<Response>;
    };
    await pays(async (method, path, body) => {
      const request = requestTo(method, path, body);
      const id = path.split("/").at(-1) ?? "";
      return method === "POST" ? POST(request) : GET(request, { params: Promise.resolve({ id }) });
    });
  });

  test("Hono", async () => {
    // The export that the snippet shows.
    const { app } = (await stage.run(snippetWith(page, "// hono.ts"))) as {
      app: { fetch(request: Request): Promise<Response> };
    };
    await pays(async (method, path, body) => app.fetch(requestTo(method, path, body)));
  });

  test("Express", async () => {
    // The export that the snippet shows.
    const { app } = (await stage.run(snippetWith(page, "// express.ts"))) as {
      app: { listen(port: number, host: string): Server };
    };
    const server = app.listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    // A TCP server's address is an object.
    const { port } = server.address() as AddressInfo;
    await pays(async (method, path, body) => {
      const { headers } = requestTo(method, path, body);
      const sent = body && { body: JSON.stringify(body) };
      return fetch(`http://127.0.0.1:${port}${path}`, { method, headers, ...sent });
    });
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  test("Fastify", async () => {
    // The export that the snippet shows.
    const { app } = (await stage.run(snippetWith(page, "// fastify.ts"))) as {
      app: { listen(options: object): Promise<string>; close(): Promise<void> };
    };
    const origin = await app.listen({ port: 0, host: "127.0.0.1" });
    await pays(async (method, path, body) => {
      const { headers } = requestTo(method, path, body);
      const sent = body && { body: JSON.stringify(body) };
      return fetch(`${origin}${path}`, { method, headers, ...sent });
    });
    await app.close();
  });
});
