import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import { type Provider, shortapi, trinetra } from "../../src/index";
import { isSettled, jobState } from "../../src/job/job";
import type { TaskState } from "../../src/types/reference";
import { TestClock } from "../support/clock";
import { failureOf, prompt, startStage, systemClock } from "../support/stage";

const baseURL = "https://provider.example";
const clientOf = (provider: Provider) => new ProviderClient({ provider }, new TestClock());
const client = clientOf(trinetra({ baseURL, apiKey: "a-key" }));

const task = { index: 0, n: 1, id: "job_1", state: "queued" };
const reference = {
  ...{ v: 1, id: "our-id", provider: "trinetra", baseURL, operation: "generate" },
  ...{ submittedAt: "2026-11-20T21:00:00.000Z", tasks: [task] },
};

test("a reference is taken as an object, as its JSON, and as the job itself, and comes back the same", () => {
  const job = client.resume(reference);
  expect(job.reference).toEqual(reference);
  expect(client.resume(JSON.stringify(reference)).reference).toEqual(reference);
  expect(client.resume(job).reference).toEqual(reference);
  expect(JSON.parse(JSON.stringify(job))).toEqual(reference);
});

test("a reference may have fields that a later version adds", () => {
  const later = { ...reference, journal: "x", tasks: [{ ...task, more: 1 }] };
  expect(client.resume(later).id).toBe("our-id");
});

test.for([
  ["another provider", { ...reference, provider: "shortapi" }, "reference.provider"],
  ["another place", { ...reference, baseURL: "https://evil.example" }, "reference.baseURL"],
  ["a later version", { ...reference, v: 2 }, "reference.v"],
  ["no version", { ...reference, v: undefined }, "reference.v"],
  ["no tasks", { ...reference, tasks: [] }, "reference.tasks"],
  ["a task without n", { ...reference, tasks: [{ ...task, n: 0 }] }, "reference.tasks.0.n"],
  ["an empty id", { ...reference, tasks: [{ ...task, id: "" }] }, "reference.tasks.0.id"],
  [
    "a strange state",
    { ...reference, tasks: [{ ...task, state: "x" }] },
    "reference.tasks.0.state",
  ],
  ["a bad date", { ...reference, submittedAt: "yesterday" }, "reference.submittedAt"],
  ["a bad operation", { ...reference, operation: "paint" }, "reference.operation"],
  ["an empty object", {}, "reference.v"],
  ["null", null, "reference"],
  ["undefined", undefined, "reference"],
  ["a number", 7, "reference"],
  ["a list", [], "reference"],
  ["text that is no JSON", "job_1", "reference"],
  ["JSON of something else", '"job_1"', "reference"],
] as const)("a reference with %s is refused by the name of what is wrong", ([_, given, field]) => {
  expect(() => client.resume(given)).toThrow(
    expect.objectContaining({ name: "InvalidRequestError", charged: "no", field }),
  );
});

test("a refusal of a reference shows whose it is and whose it should be", () => {
  expect(() => clientOf(shortapi({ baseURL, apiKey: "a-key" })).resume(reference)).toThrow(
    /expected "shortapi", this client's, got "trinetra"/,
  );
});

test("a task that had no id when the reference was written cannot be asked after, and is not sent", async () => {
  await using stage = await startStage();
  const tasks = (["waiting", "submitting", "unknown", "refused"] as const).map((state, index) => ({
    ...{ index, n: 1, state },
  }));
  const given = { ...reference, baseURL: stage.sandbox.trinetra.baseURL, tasks };
  const error = await failureOf(stage.client("trinetra").resume(given).result());
  const charges = [error, ...error.failures].map((each) => each.charged);
  expect(charges).toEqual(["unknown", "unknown", "unknown", "no"]);
  expect(error.job?.id).toBe("our-id");
  expect(stage.sandbox.requests).toHaveLength(0);
});

test("an id in a reference cannot leave the path of the query", async () => {
  await using stage = await startStage();
  const { baseURL: place } = stage.sandbox.trinetra;
  const given = { ...reference, baseURL: place, tasks: [{ ...task, id: "../../evil?x=1#y" }] };
  await failureOf(stage.client("trinetra", {}, systemClock).resume(given).status());
  expect(stage.sandbox.requests.map(({ path }) => path)).toEqual([
    "/trinetra/v1/jobs/..%2F..%2Fevil%3Fx%3D1%23y",
  ]);
});

test("a resumed job is asked after at once, and later on schedule", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const submitted = await stage.client("trinetra").submit({ prompt });
  const before = stage.clock.elapsedMs;
  await stage.client("trinetra").resume(submitted.reference).result();
  expect(stage.clock.elapsedMs).toBe(before);
  expect(stage.count("poll")).toBe(1);
});

test.for<[TaskState[], string]>([
  [["queued"], "queued"],
  [["waiting", "succeeded"], "queued"],
  [["submitting"], "queued"],
  [["running", "queued"], "running"],
  [["succeeded", "failed"], "succeeded"],
  [["succeeded", "unknown"], "succeeded"],
  [["failed", "unknown"], "unknown"],
  [["failed", "refused"], "failed"],
])("tasks that are %s make a job that is %s", ([states, expected]) => {
  expect(jobState(states)).toBe(expected);
});

test("four states are the end, four are not", () => {
  const settled: TaskState[] = ["succeeded", "failed", "refused", "unknown"];
  const open: TaskState[] = ["waiting", "submitting", "queued", "running"];
  expect(settled.every(isSettled)).toBe(true);
  expect(open.some(isSettled)).toBe(false);
});
