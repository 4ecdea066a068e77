import { describe, expect, test } from "vitest";
import type { Charged } from "../../src/cost";
import { GenerationFailedError } from "../../src/errors";
import { failureOf } from "../../src/job/assemble";
import type { ImageJob } from "../../src/types";

// All that is asked of the job here.
const job = { provider: "trinetra" } as ImageJob;

describe("of a call of which no task gave an image, the error thrown is", () => {
  test.each<[thrown: number, ...charges: Charged[]]>([
    [1, "no", "yes"],
    [1, "no", "unknown"],
    [1, "yes", "unknown"],
    [2, "no", "yes", "unknown", "unknown"],
    [0, "no", "no"],
  ])("that of task %i, where they are charged %s, %s", (thrown, ...charges) => {
    const errors = charges.map((charged) => new GenerationFailedError({ charged }));
    const expected = errors[thrown];
    const error = failureOf(errors, job);
    expect(error).toBe(expected);
    expect(error.failures).toEqual(errors.filter((each) => each !== expected));
  });
});
