import { expect, test } from "vitest";
import { createImageClient, trinetra } from "../../src/index";
import { type Journal, memoryJournal } from "../../src/journal/journal";
import { startSandbox } from "../../src/testing/sandbox";
import { aMoment, prompt, until } from "../support/stage";
import { listed } from "./contract";

/** A journal that does one of its writes when the test lets it. */
function heldJournal(isHeld: (what: string) => boolean) {
  const journal = memoryJournal();
  const written = new Map<string, readonly [string, number]>();
  const gates: (() => void)[] = [];
  const gate = (what: string) =>
    isHeld(what) ? new Promise<void>((resolve) => gates.push(resolve)) : Promise.resolve();
  const held: Journal = {
    ...journal,
    async writeImage(id, position, bytes) {
      await gate(`image ${position}`);
      await journal.writeImage(id, position, bytes);
      written.set(`${id} ${position}`, [id, position]);
    },
    async update(record) {
      await gate(record.state);
      await journal.update(record);
    },
  };
  /** Those that are kept still. */
  const images = async () => {
    const all = [...written.values()].map((each) => journal.readImage(...each));
    return (await Promise.all(all)).filter((each) => each !== undefined);
  };
  return { held, journal, images, gates };
}

test.each(["image 0", "image 1", "succeeded"])(
  "a job that is released while its %s is being written leaves nothing, and has its pictures",
  async (what) => {
    const { held, journal, images, gates } = heldJournal((each) => each === what);
    await using sandbox = await startSandbox({ jobDurationMs: 0, plainImages: true });
    const client = createImageClient({
      ...{ provider: trinetra(sandbox.trinetra), journal: held, poll: 1 },
    });
    const job = await client.submit({ prompt, n: 2 });
    const result = job.result();
    await until(() => gates.length > 0);
    const releasing = job.release();
    await aMoment();
    for (const open of gates) open();
    await releasing;
    const pictures = await Promise.all((await result).images.map((image) => image.bytes()));
    expect(pictures.map(({ byteLength }) => byteLength > 100)).toEqual([true, true]);
    expect(await listed(journal)).toEqual([]);
    expect(await images()).toEqual([]);
    expect(sandbox.requests.filter(({ phase }) => phase === "download")).toHaveLength(2);
  },
);
