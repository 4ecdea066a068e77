import { readFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { expect, test } from "vitest";
import { here, place } from "./here";

test("--sheet draws the pictures beside them into one, with their names", async () => {
  const directory = place();
  const out = join(directory, "out");
  const argv = [
    "generate",
    "-p",
    "sandbox",
    "-n",
    "5",
    "--sheet",
    "--json",
    "-o",
    `${out}/`,
    "test",
  ];
  const { code, stdout } = await here(argv, { env: { XDG_STATE_HOME: directory } });
  expect(code).toBe(0);
  const { sheet, files, job } = JSON.parse(stdout);
  expect(files).toHaveLength(5);
  expect(sheet).toBe(join(out, `${job.id}-sheet.png`));
  const { width, height } = await sharp(readFileSync(sheet)).metadata();
  // Three beside each other, in two rows.
  expect([width, height]).toEqual([3 * 336 + 16, 2 * 364 + 16]);
  const { channels } = await sharp(readFileSync(sheet)).stats();
  expect(channels[0]?.stdev).toBeGreaterThan(10);
});
