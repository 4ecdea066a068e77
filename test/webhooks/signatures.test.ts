import { createHmac } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { createImageClient } from "gpt-image-client";
import { type Adapter, defineOperation, defineProvider } from "gpt-image-client/provider";
import { expect, test } from "vitest";
import { z } from "zod";
import {
  clients,
  expectNothingSaid,
  hookUrl,
  knock,
  never,
  prompt,
  receiveWith,
  secret,
  useReceiver,
} from "./receiver-support";

useReceiver();

// ---- a provider that signs ----

/** As kie.ai signs: over the task's id and the moment of sending. */
const signing: Adapter = {
  name: "signing",
  authorize: () => ({}),
  answersWith: "job",
  idempotent: false,
  operations: {
    generate: defineOperation({
      parameters: z.strictObject({ prompt: z.string() }),
      options: z.strictObject({}),
      maxImagesPerTask: 1,
      create: () => ({ method: "POST", path: "/create" }),
    }),
  },
  webhook: {
    address: "account",
    read: (body) => signedBody.safeParse(body).data?.data.task_id,
    signature({ body, headers }) {
      const id = signedBody.safeParse(body).data?.data.task_id;
      const timestamp = headers["x-webhook-timestamp"];
      const signature = headers["x-webhook-signature"];
      return id === undefined || timestamp === undefined || signature === undefined
        ? undefined
        : { content: `${id}.${timestamp}`, signature };
    },
  },
  query: (id) => ({ method: "GET", path: `/query/${id}` }),
  read: (phase) =>
    phase === "create"
      ? { state: "queued", id: "task-1", word: "queued", known: true }
      : { state: "succeeded", outputs: [{ url: "https://example.com/1.png" }] },
};

const signedBody = z.object({ data: z.object({ task_id: z.string() }) });

function signed(taskId: string, timestamp: string, key = secret): Record<string, string> {
  const signature = createHmac("sha256", key).update(`${taskId}.${timestamp}`).digest("base64");
  return { "x-webhook-timestamp": timestamp, "x-webhook-signature": signature };
}

test.each([
  ["a good one is heard", signed("task-1", "1700000000"), 1],
  ["one under another secret is not", signed("task-1", "1700000000", "other"), 0],
  ["one for another task is not", signed("task-2", "1700000000"), 0],
  [
    "one for another moment is not",
    { ...signed("task-1", "1700000000"), "x-webhook-timestamp": "1700000001" },
    0,
  ],
  ["a cut one is not", { "x-webhook-timestamp": "1700000000", "x-webhook-signature": "" }, 0],
  ["a missing one is not", {}, 0],
])("signatures: %s", async (_name, headers, queries) => {
  let asked = 0;
  const client = createImageClient({
    provider: defineProvider("https://api.example.com", signing)({ apiKey: "k" }),
    webhooks: { secret },
    poll: never,
    fetch: async (input) => {
      if (String(input instanceof Request ? input.url : input).includes("/query/")) asked += 1;
      return Response.json({});
    },
  });
  clients.push(client);
  receiveWith(client.webhooks);
  await client.submit({ prompt });
  const body = { code: 200, data: { task_id: "task-1", callbackType: "task_completed" } };
  expectNothingSaid(await knock(hookUrl, body, { headers: headers as Record<string, string> }));
  await sleep(100);

  expect(asked).toBe(queries);
});
