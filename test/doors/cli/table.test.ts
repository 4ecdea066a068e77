import { join } from "node:path";
import { startSandbox } from "gpt-image-client/testing";
import { expect, test } from "vitest";
import { tableOf } from "../../../src/doors/cli/table";
import { here, place } from "./here";

const rows = [
  ["job", "state", "prompt"],
  ["0123456789", "running", "a fox in the snow, at dusk, with a lantern"],
];

test("a table is as wide as it needs to be, or as there is room, the last column cut first", () => {
  expect(tableOf(rows)).toEqual([
    "job         state    prompt",
    "0123456789  running  a fox in the snow, at dusk, with a lantern",
  ]);
  expect(tableOf(rows, 40)).toEqual([
    "job         state    prompt",
    "0123456789  running  a fox in the snow,…",
  ]);
  for (const width of [20, 30, 40, 80]) {
    for (const line of tableOf(rows, width)) expect([...line].length).toBeLessThanOrEqual(width);
  }
});

test("what is listed fits a terminal, and is whole in a pipe", async () => {
  await using sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true });
  const { baseURL, apiKey } = sandbox.trinetra;
  const directory = place();
  const env = { XDG_STATE_HOME: directory, TRINETRA_API_KEY: apiKey };
  const prompt = "a fox that stands in the snow for so long that it is covered";
  const argv = ["generate", "--base-url", baseURL, "-o", join(directory, "out", ""), "--json"];
  const { job } = JSON.parse((await here([...argv, prompt], { env })).stdout);
  for (const command of ["jobs", "costs", "providers"]) {
    const narrow = await here([command], { env, stdoutColumns: 80 });
    expect(narrow.code).toBe(0);
    for (const line of narrow.lines) expect([...line].length).toBeLessThanOrEqual(80);
  }
  const narrow = await here(["jobs"], { env, stdoutColumns: 80 });
  // Enough of the id to name the job by, and something of the prompt.
  expect(narrow.lines[1]).toMatch(new RegExp(`^${job.id.slice(0, 8)}  done .*a fox`));
  expect((await here(["jobs"], { env })).lines[1]).toContain(job.id);
});
