import fc from "fast-check";
import { expect, test } from "vitest";
import { beginsEventStream, EventStreamParser } from "../src/event-stream";

type Event = readonly [type: string, data: string];

/** The events of a stream that comes in pieces. */
function eventsIn(stream: string, cuts: readonly number[] = []): Event[] {
  const bytes = Buffer.from(stream);
  const parser = new EventStreamParser();
  const events: Event[] = [];
  let data: Buffer[] = [];
  const read = (parts: ReturnType<EventStreamParser["parse"]>) => {
    for (const part of parts) {
      if ("data" in part) data.push(Buffer.from(part.data));
      else {
        events.push([part.type, Buffer.concat(data).toString("utf8")]);
        data = [];
      }
    }
  };
  const places = [...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
  let from = 0;
  for (const to of places) {
    // Lent: it is somebody else's as soon as the parts were taken.
    const lent = Buffer.from(bytes.subarray(from, to));
    read(parser.parse(lent));
    lent.fill("?");
    from = to;
  }
  read(parser.end());
  return events;
}

test("events are read with their types and all their lines", () => {
  const stream =
    'event: a\ndata: {"n":1}\n\n: a comment\nid: 7\nretry: 10\ndata:two\ndata:  lines\n\n';
  expect(eventsIn(stream)).toEqual([
    ["a", '{"n":1}'],
    ["", "two\n lines"],
  ]);
});

test("a stream without data has no events, and a type goes with one event alone", () => {
  expect(eventsIn("event: a\n\n:ping\n\n\n\ndata: 1\n\n")).toEqual([["", "1"]]);
  expect(eventsIn("")).toEqual([]);
});

test("an event that the stream ends in counts", () => {
  expect(eventsIn("data: 1\n\ndata: 2")).toEqual([
    ["", "1"],
    ["", "2"],
  ]);
  expect(eventsIn("data")).toEqual([["", ""]]);
});

test("a stream is told from JSON and from words by how it begins", () => {
  for (const stream of [
    "data: 1",
    "event: a\n",
    ": ping\n",
    "\ufeffdata: 1",
    "\n\nid:1",
    "data\n",
  ]) {
    expect([stream, beginsEventStream(Buffer.from(stream))]).toEqual([stream, true]);
  }
  for (const other of ['{"data":1}', "error: no", "database: gone", "", "dat", "null"]) {
    expect([other, beginsEventStream(Buffer.from(other))]).toEqual([other, false]);
  }
});

test("any events are read the same in any pieces, with any line ends", () => {
  const text = fc.string({ unit: "grapheme" }).map((each) => each.replace(/[\r\n]/g, ""));
  const event = fc.record({ type: text, lines: fc.array(text, { minLength: 1, maxLength: 3 }) });
  const cuts = fc.array(fc.nat(200), { maxLength: 6 });
  fc.assert(
    fc.property(
      fc.array(event, { maxLength: 5 }),
      fc.constantFrom("\n", "\r\n", "\r"),
      fc.constantFrom("", "\ufeff"),
      cuts,
      (events, lineEnd, mark, places) => {
        const lines = events.flatMap(({ type, lines }) => [
          `event: ${type}`,
          ...lines.map((line) => `data: ${line}`),
          ": a comment",
          "",
        ]);
        const stream = mark + lines.map((line) => line + lineEnd).join("");
        expect(eventsIn(stream, places)).toEqual(
          events.map(({ type, lines }) => [type, lines.join("\n")]),
        );
      },
    ),
    { numRuns: 500 },
  );
});

test("a stream is the same wherever it is cut in two", () => {
  const stream = "\ufeffevent: é\r\ndata: 1\r\ndata\rdata:  2\n\ndataset: 3\ndata: 4\r\n\r\n";
  const whole = eventsIn(stream);
  expect(whole).toEqual([
    ["é", "1\n\n 2"],
    ["", "4"],
  ]);
  for (let cut = 0; cut <= Buffer.byteLength(stream); cut += 1) {
    expect(eventsIn(stream, [cut])).toEqual(whole);
  }
});

test("a megabyte of short lines is read in a moment", () => {
  expect(eventsIn("data: 1\r\n\r\n".repeat(100_000))).toHaveLength(100_000);
});
