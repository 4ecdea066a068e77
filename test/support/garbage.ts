import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");

/** Collects garbage now: all of it, or of what is young alone. */
export const collectGarbage: (options?: { type: "minor" }) => void = runInNewContext("gc");
