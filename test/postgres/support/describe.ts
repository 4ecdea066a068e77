import { describe, test } from "vitest";
import { pathTo } from "./server";

/** Tests that need PostgreSQL: skipped with one line where it is missing, which in CI is a failure. */
export function describeWithPostgres(name: string, tests: () => void): void {
  const isMissing = pathTo("postgres") === undefined || pathTo("initdb") === undefined;
  const sentence = "PostgreSQL is not installed (Debian: apt-get install postgresql)";
  if (isMissing && process.env.CI) {
    test("PostgreSQL is installed", () => {
      throw new Error(`${sentence}, and in CI nothing may be skipped`);
    });
  } else if (isMissing) {
    console.warn(`${sentence}: its tests are skipped`);
  }
  describe.skipIf(isMissing)(name, tests);
}
