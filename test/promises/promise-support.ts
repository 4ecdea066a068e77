import type { SandboxProvider } from "../../src/testing/sandbox";
import { sendJson, startServer } from "../support/server";
import { providerOf } from "../support/stage";

/** Jobs that fail: whether they are refunded, what their error says, and how many are billed. */
export const failures: readonly {
  name: SandboxProvider;
  refunded?: boolean;
  charged: string;
  billed: number;
}[] = [
  { name: "shortapi", refunded: true, charged: "no", billed: 0 },
  { name: "shortapi", refunded: false, charged: "unknown", billed: 1 },
  { name: "aigptimage", charged: "unknown", billed: 1 },
  { name: "trinetra", charged: "no", billed: 0 },
];

/** A provider like trinetra that counts the jobs it has at once; each takes `polls` polls. */
export async function startCounting(polls: number) {
  let open = 0;
  const asked = new Map<string, number>();
  const counted = { most: 0, prompts: [] as string[], creates: 0, polls: 0 };
  const server = await startServer((request, response) => {
    if (request.method === "POST") {
      open += 1;
      counted.creates += 1;
      counted.most = Math.max(counted.most, open);
      counted.prompts.push(JSON.parse(request.body).prompt);
      const id = `job-${counted.creates}`;
      asked.set(id, 0);
      return sendJson(response, { job_id: id, status: "queued" }, 202);
    }
    const id = request.path.split("/").pop() ?? "";
    const times = (asked.get(id) ?? 0) + 1;
    asked.set(id, times);
    counted.polls += 1;
    if (times < polls) return sendJson(response, { id, status: "processing" });
    open -= 1;
    const outputs = [{ url: `${server.url}/picture.png` }];
    return sendJson(response, { id, status: "succeeded", output: { outputs } });
  });
  const provider = providerOf("trinetra", { baseURL: server.url, apiKey: "a-key" });
  return { server, provider, counted };
}
