import type { SandboxFaultKind } from "gpt-image-client/testing";
import { type Client, clients } from "./clients";
import { GatewayStage } from "./stage";
import { Way, type WayFault } from "./way";

/** What is compared: how a reader calls it, and where something goes wrong. */
export interface Case {
  readonly title: string;
  /** At the provider, for as long as the case lasts or so many times. */
  readonly fault?: SandboxFaultKind;
  readonly times?: number;
  /** Between the client and the gateway, for so many requests. */
  readonly way?: WayFault;
  /** The client gives up after so long, and with `openai` asks again. */
  readonly timeoutMs?: number;
  readonly jobDurationMs?: number;
  /** The most that may be bought; default 1. */
  readonly most?: number;
  /** At least so many pictures reach their caller; default none. */
  readonly delivered?: number;
}

export const cases: readonly Case[] = [
  { title: "none", delivered: 1 },
  {
    title: "way: reset before the gateway has it, once",
    way: "reset before the gateway has it",
    delivered: 1,
  },
  {
    title: "way: reset after the gateway has it, once",
    way: "reset after the gateway has it",
    delivered: 1,
  },
  {
    title: "way: the reply is written out and lost, once",
    ...{ way: "reply lost on the way", most: 2, delivered: 1 },
  },
  {
    title: "client: gives up while the picture is drawn",
    ...{ timeoutMs: 2_000, jobDurationMs: 3_500 },
  },
  {
    title: "provider: reset before the order was taken",
    fault: { fault: "reset-before-acceptance" },
  },
  { title: "provider: reset after it was taken", fault: { fault: "reset-after-acceptance" } },
  {
    title: "provider: a proxy's 502 page, the order taken",
    fault: { fault: "accepted-but-unavailable" },
  },
  { title: "provider: a proxy's 503 page", fault: { fault: "unavailable" } },
  { title: "provider: 500", fault: { fault: "unavailable", status: 500, ownBody: true } },
  { title: "provider: 429, once", fault: { fault: "rate-limited" }, times: 1, delivered: 1 },
  { title: "provider: the response breaks off", fault: { fault: "truncated" } },
  { title: "provider: half its JSON", fault: { fault: "malformed" } },
  { title: "provider: 200 without an image", fault: { fault: "no-image" } },
  { title: "provider: moderated, by the output", fault: { fault: "moderation" } },
  { title: "provider: the generation failed", fault: { fault: "failure" } },
  { title: "provider: no money left (402)", fault: { fault: "refusal", status: 402 } },
  {
    title: "provider: the gateway's key is refused (401)",
    fault: { fault: "refusal", status: 401 },
  },
  {
    title: "provider: 307 to elsewhere",
    fault: { fault: "redirect", location: "http://127.0.0.1:9/" },
  },
  { title: "provider: no response, until the gateway gives up", fault: { fault: "hang" } },
];

/** Purchases on the provider's bill, and pictures that reached their caller. */
export interface Outcome {
  readonly purchases: number;
  readonly delivered: number;
}

/** One client in one case, with a sandbox and a gateway of its own. */
export async function measure(client: Client, given: Case): Promise<Outcome> {
  const { fault, times = Infinity, way, timeoutMs, jobDurationMs = 300 } = given;
  await using stage = await GatewayStage.open({
    sandbox: { jobDurationMs },
    // No more than an impatient client waits, so that a provider that hangs is seen by it.
    // Besides what the picture takes: a busy machine needs its time.
    client: { timeoutMs: 4_000 + jobDurationMs },
  });
  if (fault !== undefined) {
    stage.sandbox.inject({ provider: "openaiCompatible", phase: "create", times, ...fault });
  }
  await using road = way === undefined ? undefined : await Way.open(stage.baseURL, way, 1);
  const options = timeoutMs === undefined ? {} : { timeoutMs };
  const delivered = await client.ask(road?.baseURL ?? stage.baseURL, options).catch(() => 0);
  // An order goes on when its caller leaves: what it comes to is on the bill only then.
  await stage.gateway.close({ timeoutMs: 5_000 });
  return { purchases: stage.sandbox.charges.length, delivered };
}

export async function rowOf(given: Case): Promise<string[]> {
  const outcomes = await Promise.all(clients.map((client) => measure(client, given)));
  return outcomes.map(({ purchases, delivered }) => `${purchases} / ${delivered}`);
}

/** The table for the docs; needs Node 22 for the newer majors. */
export async function tableOfAll(): Promise<string> {
  const head = `| while it lasts | ${clients.map(({ name }) => name).join(" | ")} |`;
  const lines = [head, `| ${["---", ...clients.map(() => "---")].join(" | ")} |`];
  for (const given of cases) lines.push(`| ${given.title} | ${(await rowOf(given)).join(" | ")} |`);
  return lines.join("\n");
}
