import { realSetImmediate } from "./clock";

/** Calls started per event-loop turn (about 0.1 ms each). */
const mostInTurn = 32;

let begunInTurn = 0;
const nextTurns: (() => void)[] = [];

function beginTurn(): void {
  begunInTurn = 0;
  for (const begin of nextTurns.splice(0, mostInTurn)) begin();
}

/**
 * A place in this turn of the event loop, for which `undefined` is given, or in one of the next, in
 * the order in which they came: thousands that begin something at once would hold it up for seconds.
 */
export function inTurn(): Promise<void> | undefined {
  if (begunInTurn < mostInTurn && nextTurns.length === 0) {
    takePlace();
    return undefined;
  }
  return new Promise((resolve) => {
    nextTurns.push(() => {
      takePlace();
      resolve();
    });
  });
}

function takePlace(): void {
  begunInTurn += 1;
  if (begunInTurn === 1) realSetImmediate(beginTurn);
}
