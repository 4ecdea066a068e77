import { expect, test } from "vitest";
import { createImageClient, memoryJournal, openaiCompatible } from "../../src/index";
import { pixel, sendJson, startServer } from "../support/server";
import { failureOf } from "../support/stage";

test("a third key does not buy what the second may be at, though the first has settled", async () => {
  let isReset = false;
  await using server = await startServer((_, response) => {
    if (isReset) response.socket?.destroy();
    else sendJson(response, { data: [{ b64_json: pixel.toString("base64") }] });
  });
  const journal = memoryJournal();
  const call = (apiKey: string) =>
    createImageClient({
      provider: openaiCompatible({ baseURL: server.url, apiKey }),
      journal,
    }).generate({ prompt: "A fox" }, { idempotencyKey: "order-1" });

  await call("first-key-0123456789");
  isReset = true;
  expect((await failureOf(call("second-key-0123456789"))).charged).toBe("unknown");
  isReset = false;
  const { field, charged } = await failureOf(call("third-key-0123456789"));
  expect([field, charged, server.requests.length]).toEqual(["options.account", "no", 2]);
  // The first still has its own.
  await call("first-key-0123456789");
  expect(server.requests).toHaveLength(2);
});
