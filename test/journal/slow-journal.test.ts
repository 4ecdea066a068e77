import { expect, test } from "vitest";
import { type Journal, memoryJournal } from "../../src/journal/journal";
import { failureOf, jobProviders, prompt, startStage, until } from "../support/stage";

test.each(jobProviders)(
  "at %s a time-out while the journal writes that a job was accepted does not say that it was not sent",
  async (name) => {
    await using stage = await startStage();
    const inner = memoryJournal();
    let goOn = () => {};
    const hasRoom = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const journal: Journal = {
      ...inner,
      async update(record) {
        if (record.state === "submitted") await hasRoom;
        await inner.update(record);
      },
    };
    const error = await failureOf(
      stage.client(name, { journal }).generate({ prompt }, { timeoutMs: 20_000 }),
    );
    expect(error).toMatchObject({ code: "timeout", charged: "unknown", retryable: false });
    expect(error.job?.reference.tasks[0]?.id).toBeDefined();
    goOn();
    await until(() => error.job?.reference.tasks[0]?.state === "queued");
    expect((await error.job?.result())?.images).toHaveLength(1);
    expect(stage.count("create")).toBe(1);
  },
);
