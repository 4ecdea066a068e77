import { expect, test } from "vitest";
import { createImageClient, trinetra } from "../../src/index";

const baseURL = "https://provider.example";

test("a job that was resumed and not asked yet has the reference that it was given", () => {
  const client = createImageClient({ provider: trinetra({ baseURL, apiKey: "key" }) });
  const reference = {
    v: 1,
    id: "5f0c1d52-7d0e-4a53-9d55-0f6b4b1f8f10",
    provider: "trinetra",
    baseURL,
    operation: "generate",
    submittedAt: "2026-11-29T07:52:18.000Z",
    tasks: [
      { index: 0, n: 1, id: "job-1", key: "key-1", state: "running" },
      { index: 1, n: 1, state: "waiting" },
      {
        ...{ index: 2, n: 1, id: "job-3", state: "succeeded" },
        cost: { amount: 0.02, unit: "USD", basis: "reported" },
      },
    ],
  };
  const job = client.resume(JSON.stringify(reference));
  expect(job.reference).toEqual(reference);
  expect(JSON.parse(JSON.stringify(job))).toEqual(reference);
  expect(job.id).toBe(reference.id);
});
