import { BudgetExceededError, InvalidRequestError } from "gpt-image-client";
import { createImageGateway } from "gpt-image-client/gateway";
import { fakeImageClient } from "gpt-image-client/testing";
import { describe, expect, test } from "vitest";
import { authorize } from "./support";

const address = "https://example.com/a.png";

describe("a generation", () => {
  test.each([
    ["image", address],
    ["images", [{ image_url: address }]],
    ["mask", address],
  ])("with %s is refused, and says where to send it", async (name, value) => {
    const model = fakeImageClient();
    const { status, body } = await ask(model, { [name]: value });
    expect({ status, body }).toMatchObject({
      status: 400,
      body: {
        error: {
          charged: "no",
          param: name === "mask" ? "mask" : "image",
          message: expect.stringContaining("/images/edits"),
        },
      },
    });
    expect(model.calls).toHaveLength(0);
  });

  test("to a provider at a wrong address is the gateway's own matter", async () => {
    const error = new InvalidRequestError({ charged: "no", field: "baseURL", given: "a redirect" });
    const reply = await ask(fakeImageClient({ error }), {});
    expect(reply.status).toBe(500);
    expect(reply.body).toMatchObject({ error: { charged: "no", param: null } });
    expect(reply.headers.get("x-should-retry")).toBe("false");
  });

  test.each([
    ["renews within a minute may be sent again", 20_000, 429, "20", null],
    ["renews later is not sent again", 3_600_000, 402, null, "false"],
    ["never renews is not sent again", undefined, 402, null, "false"],
  ])("beyond a budget that %s", async (_, retryAfterMs, status, retryAfter, shouldRetry) => {
    const error = new BudgetExceededError({
      charged: "no",
      left: { amount: 0.01, unit: "USD" },
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
    const reply = await ask(fakeImageClient({ error }), {});
    expect(reply.status).toBe(status);
    expect(reply.body).toMatchObject({ error: { charged: "no", code: "budget_exceeded" } });
    expect(reply.headers.get("retry-after")).toBe(retryAfter);
    expect(reply.headers.get("x-should-retry")).toBe(shouldRetry);
  });
});

test.each(["keyTtlMs", "orphanTtlMs"])("%s longer than a timer takes is refused", (name) => {
  const options = { models: { m: fakeImageClient() }, authorize, [name]: 2 ** 31 };
  expect(() => createImageGateway(options)).toThrow(
    expect.objectContaining({ field: `options.${name}` }),
  );
});

async function ask(model: ReturnType<typeof fakeImageClient>, fields: object) {
  const gateway = createImageGateway({ models: { m: model }, authorize });
  const response = await gateway.fetch(
    new Request("http://gateway/v1/images/generations", {
      method: "POST",
      headers: { authorization: "Bearer key-of-anna", "content-type": "application/json" },
      body: JSON.stringify({ prompt: "A web", ...fields }),
    }),
  );
  return { status: response.status, headers: response.headers, body: await response.json() };
}
