import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { bodyOf, bytesOf } from "../src/body";
import { aMoment, reasonOf } from "./support/stage";

const pieces = [Buffer.from("one "), Buffer.from("two "), Buffer.from("three")];

test("a body of somebody else's transport comes whole, from a stream and from any iterable", async () => {
  async function* iterable() {
    yield* pieces;
  }
  for (const chunks of [Readable.from(pieces), iterable()]) {
    expect((await bytesOf(bodyOf(chunks))).toString()).toBe("one two three");
  }
});

test("the end of a stream waits until its last piece was taken", async () => {
  let taken = 0;
  await bodyOf(Readable.from(pieces)).each(async () => {
    await aMoment();
    taken += 1;
  });
  expect(taken).toBe(3);
});

test("what goes wrong with the last piece of a stream is told, though the stream has ended", async () => {
  let count = 0;
  const reading = bodyOf(Readable.from(pieces)).each(async () => {
    count += 1;
    await aMoment();
    if (count === 3) throw new Error("no room");
  });
  expect(await reasonOf(reading)).toMatchObject({ message: "no room" });
});

test("a stream that broke off before anyone came for it is told of at once", async () => {
  const stream = new Readable({ read() {} });
  stream.on("error", () => {});
  stream.destroy(new Error("reset"));
  await aMoment();
  expect(await reasonOf(bytesOf(bodyOf(stream)))).toMatchObject({ message: "reset" });
});

test("a stream that was read to its end before gives nothing more", async () => {
  const stream = Readable.from(pieces);
  await bytesOf(bodyOf(stream));
  expect(await bytesOf(bodyOf(stream))).toHaveLength(0);
});

async function* iterate(values: readonly unknown[]) {
  yield* values;
}

test.each([
  ["an iterable", iterate],
  ["a stream", (values: readonly unknown[]) => Readable.from(values)],
])("whatever kind of bytes %s is made of, they are the body's", async (_, make) => {
  const buffer = () => new TextEncoder().encode("0123456789").buffer;
  const kinds = [buffer(), new DataView(buffer(), 2, 3), new Uint16Array(buffer(), 4, 2), "é"];
  expect((await bytesOf(bodyOf(make(kinds)))).toString()).toBe("01234567892344567é");
  await expect(bytesOf(bodyOf(make([7])))).rejects.toThrow("gave number where bytes");
});
