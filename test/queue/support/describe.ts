import { describe, test } from "vitest";
import { pathTo } from "../../postgres/support/server";
import { redisPath } from "./redis";

/** Tests that need both servers: skipped with one line where one is missing, which in CI is a failure. */
export function describeWithServers(name: string, tests: () => void): void {
  const isMissing = redisPath() === undefined || pathTo("postgres") === undefined;
  const sentence =
    "Redis or PostgreSQL is not installed (Debian: apt-get install redis-server postgresql)";
  if (isMissing && process.env.CI) {
    test("Redis and PostgreSQL are installed", () => {
      throw new Error(`${sentence}, and in CI nothing may be skipped`);
    });
  } else if (isMissing) {
    console.warn(`${sentence}: the tests of queues are skipped`);
  }
  describe.skipIf(isMissing)(name, tests);
}
