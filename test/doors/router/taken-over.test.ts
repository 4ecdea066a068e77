import { createImageRouter, memoryLedger } from "gpt-image-client/router";
import { expect, test } from "vitest";
import { memoryJournal } from "../../../src/journal/journal";
import { failureOf, prompt, type Stage, startStage } from "../../support/stage";

const idempotencyKey = "order-1";

async function statesIn(ledger: ReturnType<typeof memoryLedger>): Promise<string[]> {
  const states: string[] = [];
  for await (const { client, state } of ledger.entries()) states.push(`${client}: ${state}`);
  return states;
}

const createsAt = (stage: Stage, name: string) =>
  stage.requests("create").filter(({ provider }) => provider === name).length;

test.each([
  { fault: "rate-limited" },
  { fault: "refusal", status: 402 },
  { fault: "refusal", status: 400 },
] as const)(
  "$fault at the second try says nothing of a first one that was lost, and nobody else is asked",
  async (fault) => {
    await using stage = await startStage();
    const ledger = memoryLedger();
    const router = createImageRouter({
      clients: [stage.client("aigptimage"), stage.client("trinetra")],
      journal: memoryJournal(),
      ledger,
    });
    const order = (onUnknown?: "buy-again") =>
      router.generate({ prompt }, { idempotencyKey, ...(onUnknown && { onUnknown }) });
    const lost = { fault: "reset-after-acceptance", times: 5 } as const;
    stage.sandbox.inject({ provider: "aigptimage", phase: "create", ...lost });
    expect((await failureOf(order())).charged).toBe("unknown");
    stage.sandbox.inject({ provider: "aigptimage", phase: "create", ...fault });
    const error = await failureOf(order("buy-again"));
    expect(error).toMatchObject({ code: "submission_unknown", charged: "unknown" });
    expect(error.failures).toMatchObject([{ charged: "no" }]);
    expect(await statesIn(ledger)).toEqual(["aigptimage: unknown"]);
    // Its provider honours the key: the picture that was paid for is there.
    expect((await order()).provider).toBe("aigptimage");
    expect(await statesIn(ledger)).toEqual(["aigptimage: charged"]);
    expect(stage.sandbox.charges).toHaveLength(1);
    expect(createsAt(stage, "trinetra")).toBe(0);
  },
);

test("nor does a client that was closed since, or whose journal fails", async () => {
  await using stage = await startStage();
  const ledger = memoryLedger();
  let isBroken = false;
  const kept = memoryJournal();
  const journal = {
    ...kept,
    read: (id: string) => (isBroken ? Promise.reject(new Error("EIO")) : kept.read(id)),
  };
  const first = stage.client("shortapi", { journal });
  const router = createImageRouter({
    clients: [first, stage.client("trinetra")],
    journal: memoryJournal(),
    ledger,
  });
  const order = () => router.generate({ prompt }, { idempotencyKey });
  stage.sandbox.inject({ provider: "shortapi", phase: "create", fault: "reset-after-acceptance" });
  expect((await failureOf(order())).charged).toBe("unknown");
  isBroken = true;
  expect((await failureOf(order())).charged).toBe("unknown");
  isBroken = false;
  await first.close();
  expect((await failureOf(order())).charged).toBe("unknown");
  expect(await statesIn(ledger)).toEqual(["shortapi: unknown"]);
  expect(stage.count("create")).toBe(1);
});
