import { expect, test } from "vitest";
import { createImageClient, shortapi } from "../../src/index";
import { startSandbox } from "../../src/testing/sandbox";
import { onePixelPng } from "../providers/fixtures";
import { collectGarbage } from "../support/garbage";
import { until } from "../support/stage";

test("what an edit is made of is let go of while its job takes its time", async () => {
  await using sandbox = await startSandbox({ jobDurationMs: 600_000 });
  let isSubmitted = false;
  const client = createImageClient({
    provider: shortapi(sandbox.shortapi),
    upload: async () => `${sandbox.cdnUrl}/picture.png`,
    onEvent: ({ type }) => {
      isSubmitted ||= type === "submitted";
    },
  });
  const begin = () => {
    const bytes = new Uint8Array(onePixelPng);
    const waiting = client.edit({ prompt: "Make it snow", images: [bytes] });
    return { waiting: waiting.catch(() => "closed"), bytes: new WeakRef(bytes) };
  };
  const { waiting, bytes } = begin();
  await until(() => isSubmitted);
  await until(() => {
    collectGarbage();
    return bytes.deref() === undefined;
  });
  await client.close();
  expect(await waiting).toBe("closed");
});
