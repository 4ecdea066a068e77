import { expect, test } from "vitest";
import { createImageClient, openaiCompatible, shortapi } from "../../src/index";
import { pixel, sendJson, startServer } from "../support/server";

const session = "0f8fad5b-d9cb-469f-a165-70867728950e";
const headers = { "x-session-id": session };

test("a picture whose URL has the value of a session's header in it is fetched from there", async () => {
  await using server = await startServer(({ method, path, headers: { host } }, response) => {
    if (method === "POST")
      sendJson(response, { data: [{ url: `http://${host}/${session}/1.png` }] });
    else if (path === `/${session}/1.png`) response.end(pixel);
    else sendJson(response, {}, 404);
  });
  const provider = openaiCompatible({ baseURL: server.url, apiKey: "key-0123456789", headers });
  const { image } = await createImageClient({ provider }).generate({ prompt: "A fox" });
  expect(Buffer.from(await image.bytes()).equals(pixel)).toBe(true);
  expect(image.url).toContain(session);
});

test("a job whose id has the value of a session's header in it is asked for by that id", async () => {
  await using server = await startServer(({ method }, response) => {
    const data = method === "POST" ? { job_id: `${session}:1` } : { status: 3 };
    sendJson(response, { code: 0, data });
  });
  const provider = shortapi({ baseURL: server.url, apiKey: "key-0123456789", headers });
  const job = await createImageClient({ provider }).submit({ prompt: "A fox" });
  await job.status().catch(() => {});
  const polls = server.requests.filter(({ method }) => method === "GET");
  expect(polls.map(({ path }) => decodeURIComponent(path))).toEqual([
    expect.stringContaining(`${session}:1`),
  ]);
});

test("in a message the value of a session's header is struck all the same", async () => {
  await using server = await startServer((_, response) =>
    sendJson(response, { error: { message: `no such session: ${session}` } }, 400),
  );
  const provider = openaiCompatible({ baseURL: server.url, apiKey: "key-0123456789", headers });
  const failing = createImageClient({ provider }).generate({ prompt: "A fox" });
  await expect(failing).rejects.toThrow(/no such session: <key>/);
});
