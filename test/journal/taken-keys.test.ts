import { expect, test } from "vitest";
import { type Journal, memoryJournal } from "../../src/journal/journal";
import {
  aMoment,
  failureOf,
  jobProviders,
  prompt,
  startStage,
  systemClock,
  until,
} from "../support/stage";

const idempotencyKey = "order-1";

const fail = () => Promise.reject(new Error("EIO: i/o error"));

/** A journal that is read so once it has told whether there is a record. */
function readOnceTold(journal: Journal, read: Journal["read"]): Journal {
  let isTold = false;
  return {
    ...journal,
    create: async (record) => {
      isTold = true;
      return journal.create(record);
    },
    read: (id) => (isTold ? read(id) : journal.read(id)),
  };
}

test.for(jobProviders)(
  "a journal that fails once it has told of an earlier create at %s says nothing of its charge",
  async (name) => {
    await using stage = await startStage();
    const journal = memoryJournal();
    const lost = { fault: "reset-after-acceptance", times: 5 } as const;
    stage.sandbox.inject({ provider: name, phase: "create", ...lost });
    const first = stage.client(name, { journal }).generate({ prompt }, { idempotencyKey });
    expect((await failureOf(first)).charged).toBe("unknown");
    const sent = stage.count("create");
    const client = stage.client(name, { journal: readOnceTold(journal, fail) });
    const error = await failureOf(client.generate({ prompt }, { idempotencyKey }));
    expect(error).toMatchObject({ name: "JournalError", charged: "unknown", retryable: false });
    expect(error.job?.reference.tasks).toMatchObject([{ state: "unknown" }]);
    expect(stage.count("create")).toBe(sent);
  },
);

test.for(jobProviders)(
  "a journal that cannot be written where an order to %s was delivered does not say that it cost nothing",
  async (name) => {
    await using stage = await startStage();
    const journal = memoryJournal();
    await stage.client(name, { journal }).generate({ prompt }, { idempotencyKey });
    const client = stage.client(name, { journal: { ...journal, create: fail } });
    const error = await failureOf(client.generate({ prompt }, { idempotencyKey }));
    expect(error).toMatchObject({ name: "JournalError", charged: "unknown" });
    expect(stage.count("create")).toBe(1);
    // It is there for whoever asks once the journal can be written.
    const { images } = await stage
      .client(name, { journal })
      .generate({ prompt }, { idempotencyKey });
    expect(images).toHaveLength(1);
    expect(stage.count("create")).toBe(1);
  },
);

test("what stands under the key and cannot be read may be what was charged", async () => {
  await using stage = await startStage();
  const kept = memoryJournal();
  await stage.client("shortapi", { journal: kept }).generate({ prompt }, { idempotencyKey });
  // As a later version might have written it.
  const journal = readOnceTold(kept, async () => ({ v: 9 }));
  const client = stage.client("shortapi", { journal });
  const error = await failureOf(client.generate({ prompt }, { idempotencyKey }));
  expect(error).toMatchObject({ name: "JournalError", charged: "unknown" });
  expect(stage.count("create")).toBe(1);
});

test("the key of another request is refused without a charge, whatever stands there", async () => {
  await using stage = await startStage();
  const client = stage.client("shortapi", { journal: memoryJournal() });
  await client.generate({ prompt }, { idempotencyKey });
  const error = await failureOf(client.generate({ prompt: "Another" }, { idempotencyKey }));
  expect(error).toMatchObject({ name: "InvalidRequestError", charged: "no" });
  expect(stage.count("create")).toBe(1);
});

test("a journal that cannot be written under a new key says that nothing was charged", async () => {
  await using stage = await startStage();
  const journal = { ...memoryJournal(), create: fail };
  const client = stage.client("shortapi", { journal });
  const error = await failureOf(client.generate({ prompt }, { idempotencyKey }));
  expect(error).toMatchObject({ name: "JournalError", charged: "no" });
  expect(stage.count("create")).toBe(0);
});

test.for(["time-out", "close"] as const)(
  "a call that waits for another's create under its key, and ends first by a %s, leaves its charge unknown",
  async (how) => {
    await using stage = await startStage();
    let begun = 0;
    const kept = memoryJournal();
    const journal: Journal = {
      ...kept,
      create: (record) => {
        begun += 1;
        return kept.create(record);
      },
    };
    const slow = { fault: "slow", delayMs: 800 } as const;
    stage.sandbox.inject({ provider: "shortapi", phase: "create", ...slow });
    const order = (timeoutMs: number) => {
      const client = stage.client("shortapi", { journal, poll: 20, timeoutMs }, systemClock);
      const events: string[] = [];
      const call = client.generate(
        { prompt },
        {
          idempotencyKey,
          onEvent: (event) => {
            if (event.type === "failed") events.push(event.error.charged);
          },
        },
      );
      return { client, call, events };
    };
    const first = order(20_000);
    await until(() => stage.count("create") === 1);
    const second = order(how === "time-out" ? 300 : 20_000);
    const failure = failureOf(second.call);
    await until(() => begun === 2);
    await aMoment();
    if (how === "close") await second.client.close({ timeoutMs: 50 });
    const error = await failure;
    expect(error.charged).toBe("unknown");
    expect(await failureOf(error.job?.result() ?? Promise.resolve())).toMatchObject({
      charged: "unknown",
    });
    const reference = JSON.parse(JSON.stringify(error.job));
    const resumed = stage.client("shortapi").resume(reference);
    expect((await failureOf(resumed.result())).charged).toBe("unknown");
    expect(second.events.filter((charged) => charged !== "unknown")).toEqual([]);
    expect((await first.call).images).toHaveLength(1);
    expect(stage.count("create")).toBe(1);
  },
);
