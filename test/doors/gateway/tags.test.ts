import { createImageGateway } from "gpt-image-client/gateway";
import { createImageRouter, memoryLedger } from "gpt-image-client/router";
import { fakeImageClient } from "gpt-image-client/testing";
import { expect, test } from "vitest";

/** Each team may have one picture of ten cents. */
function gatewayWithBudget() {
  const model = fakeImageClient();
  const ledger = memoryLedger();
  const router = createImageRouter({
    ...{ clients: [model], ledger, assume: { amount: 0.1, unit: "USD" } },
    budget: [
      { amount: 0.1, unit: "USD", per: "forever", tags: { team: "red" } },
      { amount: 0.1, unit: "USD", per: "forever", tags: { team: "blue" } },
    ],
  });
  const gateway = createImageGateway({
    models: { m: router },
    authorize: ({ headers }) => {
      const [team = "", caller = ""] = (headers.get("authorization") ?? "").split("/");
      return { caller, tags: { team } };
    },
  });
  const ask = async (who: string) => {
    const response = await gateway.fetch(
      new Request("http://gateway/v1/images/generations", {
        method: "POST",
        headers: { authorization: who, "content-type": "application/json" },
        body: JSON.stringify({ prompt: "A web" }),
      }),
    );
    await response.text();
    return response.status;
  };
  return { ask, ledger, model };
}

test("a caller's tags go with its orders: budgets and the ledger are by them", async () => {
  const { ask, ledger, model } = gatewayWithBudget();
  expect(await ask("red/anna")).toBe(200);
  // Another caller of the same team: its budget is used up.
  expect(await ask("red/ben")).toBe(402);
  expect(await ask("blue/carla")).toBe(200);
  expect(model.calls).toHaveLength(2);
  const teams = [];
  for await (const { tags } of ledger.entries()) teams.push(tags);
  expect(teams).toEqual([{ team: "red" }, { team: "blue" }]);
});
