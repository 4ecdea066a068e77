import { z } from "zod";
import { type BoundOperation, type Call, defineOperation } from "../../src/provider";

/** An operation that takes a prompt and nothing else, and sends the same call for each. */
export function promptOperation(call: Call): BoundOperation {
  return defineOperation({
    parameters: z.strictObject({ prompt: z.string() }),
    options: z.strictObject({}),
    maxImagesPerTask: 1,
    create: () => call,
  });
}
