import { EventEmitter } from "node:events";
import { Readable, Writable } from "node:stream";
import { expect, test } from "vitest";
import { inSession, type Session } from "../../../src/doors/cli/session";
import { Shell } from "../../../src/doors/cli/shell";

const order = { first() {}, second() {} };

/** Runs a command that does so, and has the code with which the process would end. */
function ending(
  work: (session: Session, signals: EventEmitter) => Promise<number>,
  codeIfKilled?: number,
): Promise<number> {
  const sink = () => new Writable({ write: (_, __, done) => done() });
  const signals = new EventEmitter();
  return new Promise((resolve, reject) => {
    const shell = new Shell({
      ...{ env: {}, stdin: Readable.from([]), stdout: sink(), stderr: sink() },
      ...{ signals, manifest: new URL("file:///nowhere"), exit: resolve },
    });
    inSession(shell, (session) => work(session, signals), codeIfKilled).then(resolve, reject);
  });
}

test.each([
  ["before an order is 1", false, undefined, 1],
  ["once there is an order is 5", true, undefined, 5],
  ["of a command about jobs that were ordered before is 5", false, 5, 5],
] as const)("an error that nobody caught %s", async (_, hasOrder, codeIfKilled, expected) => {
  const code = ending(async ({ interruption }, signals) => {
    if (hasOrder) interruption.guard(order);
    signals.emit("uncaughtException", new Error("a fault of ours"));
    return 0;
  }, codeIfKilled);
  expect(await code).toBe(expected);
});

test("a signal to a command about jobs that were ordered before is code 5", async () => {
  const code = ending(async (_, signals) => {
    signals.emit("SIGTERM");
    return 0;
  }, 5);
  expect(await code).toBe(5);
});

test("an error after an order was guarded is code 5, and one before it is thrown", async () => {
  const fault = async () => {
    throw new Error("a fault of ours");
  };
  const guarded = ending(async ({ interruption }) => {
    interruption.guard(order);
    return fault();
  });
  expect(await guarded).toBe(5);
  await expect(ending(fault)).rejects.toThrow("a fault of ours");
});

test.each([0, 4, 5])("what cannot be closed leaves code %i as it is", async (code) => {
  const ended = ending(async ({ after }) => {
    after(() => Promise.reject(new Error("busy")));
    return code;
  });
  expect(await ended).toBe(code);
});
