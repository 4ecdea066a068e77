import { createServer } from "node:http";
import {
  aigptimage,
  createImageClient,
  openaiCompatible,
  shortapi,
  trinetra,
} from "gpt-image-client";
import { createImageGateway } from "gpt-image-client/gateway";
import { type SandboxFault, startSandbox } from "gpt-image-client/testing";
import OpenAI, { APIError } from "openai";
import { expect, test } from "vitest";
import { everyFault } from "../ai-sdk/faults";
import { authorize, listen } from "./support";

const makers = { shortapi, aigptimage, trinetra, openaiCompatible };
const faults = await everyFault();

const nameOf = ({ provider, phase, fault, times: _, ...told }: SandboxFault) =>
  `${provider}, ${phase}: ${[fault, ...Object.values(told)].join(" ")}`;

test.concurrent.each(faults.map((fault) => [nameOf(fault), fault] as const))(
  "%s: openai with its repeats buys once through the gateway, and hears what it cost",
  async (_, fault) => {
    const { provider, phase } = fault;
    // A download is one only where the response names a URL.
    const openaiAnswers = phase === "download" ? "url" : "b64_json";
    await using sandbox = await startSandbox({
      ...{ jobDurationMs: 20, plainImages: true, openaiAnswers },
    });
    sandbox.inject(fault);
    const client = createImageClient({
      provider: makers[provider](sandbox[provider]),
      ...{ poll: 20, attemptTimeoutMs: 1_000, timeoutMs: 3_000, maxAnswerBytes: 5e6 },
    });
    const gateway = createImageGateway({ models: { m: client }, authorize });
    const server = createServer(gateway.listener);
    const baseURL = `${await listen(server)}/v1`;
    // It obeys the minute that a gateway may ask for, which nobody waits for here.
    const isLong = fault.fault === "rate-limited" && fault.retryAfterSeconds !== undefined;
    const retries = isLong ? { maxRetries: 0 } : {};
    const openai = new OpenAI({ apiKey: "key-of-anna", baseURL, ...retries });
    const found = await openai.images
      .generate({ model: "m", prompt: "A web" })
      .catch((error: unknown) => error);
    server.closeAllConnections();
    server.close();
    await gateway.close({ timeoutMs: 1_000 });
    await client.close();
    const purchases = sandbox.charges.length;
    expect(purchases).toBeLessThanOrEqual(1);
    if (!(found instanceof APIError)) {
      expect(found).toMatchObject({ charged: "yes", data: [{ b64_json: expect.any(String) }] });
      return;
    }
    // The body of an error of the gateway.
    const { charged, job } = found.error as { charged: string; job: string };
    expect(job).toMatch(/^[\da-f]{32}$/);
    expect(["no", "yes", "unknown"]).toContain(charged);
    if (charged === "no") expect(purchases).toBe(0);
    if (charged === "yes") expect(purchases).toBe(1);
  },
  180_000,
);
