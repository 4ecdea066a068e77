import { EventEmitter, once } from "node:events";
import { readFileSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { startSandbox } from "gpt-image-client/testing";
import OpenAI from "openai";
import { expect, test } from "vitest";
import { here, place } from "./here";

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return address.port;
}

/** A `serve` that runs, what it has printed, and the way to end it. */
async function served(env: Readonly<Record<string, string>>, more: readonly string[] = []) {
  const port = await freePort();
  const signals = new EventEmitter();
  let isUp = () => {};
  const up = new Promise<void>((resolve) => {
    isUp = resolve;
  });
  const onStderr = (text: string) => {
    if (text.includes("Ctrl-C ends it")) setTimeout(isUp, 20);
  };
  const argv = ["serve", "--port", String(port), ...more];
  const ending = here(argv, { env, signals, onStderr });
  await up;
  const state = join(env.XDG_STATE_HOME ?? "", "gpt-image-client");
  const key = readFileSync(join(state, "serve-key"), "utf8").trim();
  const stop = async () => {
    signals.emit("SIGINT");
    return ending;
  };
  const again = () => signals.emit("SIGINT");
  return { port, key, stop, again, state, baseURL: `http://127.0.0.1:${port}/v1` };
}

test("serve is OpenAI's images API over the providers whose keys are there, in turn", async () => {
  await using sandbox = await startSandbox({ jobDurationMs: 60, plainImages: true });
  const env = {
    XDG_STATE_HOME: place(),
    TRINETRA_API_KEY: sandbox.trinetra.apiKey,
  };
  const trinetra = ["--provider", "trinetra", "--base-url", sandbox.trinetra.baseURL];
  const { baseURL, key, stop, state } = await served(env, trinetra);
  const client = new OpenAI({ apiKey: key, baseURL, maxRetries: 0 });
  const { data } = await client.images.generate({ model: "gpt-image-2", prompt: "test" });
  expect(data?.[0]?.b64_json?.slice(0, 8)).toBe("iVBORw0K");
  const stranger = new OpenAI({ apiKey: "guess", baseURL, maxRetries: 0 });
  await expect(stranger.images.generate({ prompt: "test" })).rejects.toMatchObject({ status: 401 });
  const ended = await stop();
  expect(ended.code).toBe(0);
  expect(ended.stdout).toBe(`OPENAI_BASE_URL=${baseURL}\nOPENAI_API_KEY=${key}\n`);
  expect(statSync(join(state, "serve-key")).mode & 0o777).toBe(0o600);
  expect(sandbox.charges).toHaveLength(1);
  const costs = await here(["costs", "--json"], { env });
  expect(JSON.parse(costs.stdout)).toMatchObject([{ orders: 1, charged: 7 }]);
});

test("serve has the same key the next time, and names the providers that it asks in turn", async () => {
  const env = { XDG_STATE_HOME: place(), SHORTAPI_KEY: "a", TRINETRA_API_KEY: "b" };
  const first = await served(env);
  const ended = await first.stop();
  expect(ended.stderr).toContain("shortapi, then trinetra");
  const second = await served(env);
  await second.stop();
  expect(second.key).toBe(first.key);
});

test("serve waits for what was ordered when it is stopped", async () => {
  await using sandbox = await startSandbox({ jobDurationMs: 500, plainImages: true });
  const env = { XDG_STATE_HOME: place(), OPENAI_API_KEY: sandbox.openai.apiKey };
  const more = ["--provider", "openai", "--base-url", sandbox.openai.baseURL];
  const { baseURL, key, stop } = await served(env, more);
  const client = new OpenAI({ apiKey: key, baseURL, maxRetries: 0 });
  const ordering = client.images.generate({ model: "gpt-image-2", prompt: "test" });
  await expect.poll(() => sandbox.requests.length).toBe(1);
  const ending = stop();
  expect((await ordering).data).toHaveLength(1);
  expect((await ending).code).toBe(0);
});

test("serve on a port that is taken is code 2, and says how to take another", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const argv = ["serve", "-p", "sandbox", "--port", String(port)];
  const { code, stderr } = await here(argv, { env: { XDG_STATE_HOME: place() } });
  server.close();
  expect(code).toBe(2);
  expect(stderr).toContain("--port");
});

test("sandbox plays the providers until it is stopped, and prints a command for each", async () => {
  const signals = new EventEmitter();
  const onStderr = (text: string) => {
    if (text.includes("Ctrl-C ends it")) setTimeout(() => signals.emit("SIGINT"), 50);
  };
  const { code, lines, stderr } = await here(["sandbox", "--job-time", "1s"], {
    signals,
    onStderr,
  });
  expect(code).toBe(0);
  expect(lines).toHaveLength(4);
  expect(lines[2]).toMatch(
    /^TRINETRA_API_KEY=\S+ gpt-image-client generate --provider trinetra --base-url http\S+ "A fox"$/,
  );
  expect(stderr).toContain("0 orders would have been billed");
});

test.each(["openai", "trinetra"] as const)(
  "a second Ctrl-C that gives up an order of %s ends serve with the code of unknown money",
  async (name) => {
    await using sandbox = await startSandbox({ jobDurationMs: 60_000, plainImages: true });
    const env = {
      XDG_STATE_HOME: place(),
      [`${name.toUpperCase()}_API_KEY`]: sandbox[name].apiKey,
    };
    const given = ["--provider", name, "--base-url", sandbox[name].baseURL];
    const { baseURL, key, stop, again } = await served(env, given);
    const client = new OpenAI({ apiKey: key, baseURL, maxRetries: 0 });
    const order = client.images.generate({ prompt: "test" }).catch((error: unknown) => error);
    while (sandbox.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const ending = stop();
    // Two within half a second count as one.
    await new Promise((resolve) => setTimeout(resolve, 600));
    again();
    const { code, stderr } = await ending;
    await order;
    expect(code).toBe(5);
    expect(stderr).toContain("1 order may be charged, and did not come.");
    expect(stderr).toContain("gpt-image-client recover");
  },
);
