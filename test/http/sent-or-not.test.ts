import { Agent, Dispatcher } from "undici";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ProviderClient } from "../../src/client";
import type { ImageClientOptions } from "../../src/client-options";
import { type Journal, memoryJournal } from "../../src/journal/journal";
import type { ProviderSettings } from "../../src/provider";
import { openaiCompatible, trinetra } from "../../src/providers/index";
import { TestClock } from "../support/clock";
import { startRawServer } from "../support/raw-server";
import { deadPort, pixel, sendJson, startServer } from "../support/server";
import { aMoment, failureOf, prompt, reasonOf, systemClock, until } from "../support/stage";

// Whether a request was begun decides what is said of the charge, whatever the error's code is. What
// counts is what arrived at the server: its connections, and the creates on them.

const idempotencyKey = "order-1";
const call = [{ prompt }, { idempotencyKey }] as const;

/** One whose create gives the image, and one whose create gives a job. */
const makers = { openaiCompatible, trinetra };
const names = ["openaiCompatible", "trinetra"] as const;
type Name = (typeof names)[number];

function clientOf(
  name: Name,
  baseURL: string,
  options: Partial<ImageClientOptions> = {},
  clock = new TestClock(),
  settings: ProviderSettings = {},
): ProviderClient {
  const provider = makers[name]({ baseURL, apiKey: "sk-test-0123456789", ...settings });
  return new ProviderClient({ provider, poll: 1_000, ...options }, clock);
}

/** Answers a create and a poll of either provider. */
const startProvider = () =>
  startServer(({ method }, response) => {
    const done = { id: "job-1", status: "completed", result_urls: ["https://cdn.example/1.png"] };
    const data = method === "POST" ? [{ b64_json: pixel.toString("base64") }] : undefined;
    sendJson(response, data === undefined ? done : { ...done, status: "queued", data });
  });

/** What a journal holds: a create that was not charged leaves nothing, so that its key is free. */
async function recordsOf(journal: Journal): Promise<unknown[]> {
  const records: unknown[] = [];
  for await (const each of journal.list()) records.push(each);
  return records;
}

beforeEach(() => {
  for (const name of ["http_proxy", "https_proxy", "no_proxy"]) {
    vi.stubEnv(name, undefined);
    vi.stubEnv(name.toUpperCase(), undefined);
  }
});
afterEach(() => vi.unstubAllEnvs());

// ---- our own transport ----

test.for(names)("a TLS handshake that hangs has sent nothing: %s", async (name) => {
  await using server = await startRawServer(() => {});
  const clock = new TestClock({ auto: false });
  const journal = memoryJournal();
  const baseURL = server.url.replace("http:", "https:");
  const client = clientOf(name, baseURL, { journal, timeoutMs: 5_000 }, clock);
  const failure = failureOf(client.generate(...call));
  await until(() => server.sockets.size === 1);
  await clock.advance(5_000);
  expect(await failure).toMatchObject({ name: "TimeoutError", charged: "no", retryable: true });
  expect(clock.elapsedMs).toBe(5_000);
  await aMoment();
  expect(server.sockets.size).toBe(1);
  expect(await recordsOf(journal)).toEqual([]);
});

test.for(names)("an abort in the middle of a TLS handshake has sent nothing: %s", async (name) => {
  await using server = await startRawServer(() => {});
  const journal = memoryJournal();
  const charged: unknown[] = [];
  const client = clientOf(name, server.url.replace("http:", "https:"), {
    journal,
    onEvent: (event) => event.type === "failed" && charged.push(event.error.charged),
  });
  const controller = new AbortController();
  const failure = reasonOf(client.generate(call[0], { ...call[1], signal: controller.signal }));
  await until(() => server.sockets.size === 1);
  controller.abort("enough");
  expect(await failure).toBe("enough");
  await until(() => charged.length > 0);
  expect(charged).toEqual(["no"]);
  await aMoment();
  expect(server.sockets.size).toBe(1);
  expect(await recordsOf(journal)).toEqual([]);
});

test.for(names)("a create that is refused a connection leaves its key free: %s", async (name) => {
  const journal = memoryJournal();
  const port = await deadPort();
  const error = await failureOf(
    clientOf(name, `http://127.0.0.1:${port}`, { journal }).generate(...call),
  );
  expect(error).toMatchObject({ name: "ProviderUnavailableError", charged: "no", retryable: true });
  expect(await recordsOf(journal)).toEqual([]);
});

test.for(names)("a create to a name that nobody resolves has sent nothing: %s", async (name) => {
  const journal = memoryJournal();
  const client = clientOf(name, "http://no-such-host.invalid", { journal });
  const error = await failureOf(client.generate(...call));
  expect(error).toMatchObject({ name: "ProviderUnavailableError", charged: "no" });
  expect(await recordsOf(journal)).toEqual([]);
});

test.for(names)("a create on a connection that is reset may have been taken: %s", async (name) => {
  await using server = await startRawServer((socket) => {
    socket.once("data", () => socket.resetAndDestroy());
  });
  const error = await failureOf(clientOf(name, server.url).generate(...call));
  expect(error).toMatchObject({ name: "SubmissionUnknownError", charged: "unknown" });
  expect(server.sockets.size).toBe(1);
});

// ---- a key that does not come ----

test.for(names)(
  "an apiKey function that never yields ends at the time-out, and not a moment later: %s",
  async (name) => {
    await using server = await startProvider();
    const clock = new TestClock({ auto: false });
    const journal = memoryJournal();
    let asked = 0;
    let give: (key: string) => void = () => {};
    const apiKey = () => {
      asked += 1;
      return new Promise<string>((resolve) => {
        give = resolve;
      });
    };
    const options = { journal, account: "shop", timeoutMs: 5_000 };
    const client = clientOf(name, server.url, options, clock, { apiKey });
    const failure = failureOf(client.generate(...call));
    await until(() => asked === 1);
    await clock.advance(5_000);
    expect(await failure).toMatchObject({ name: "TimeoutError", charged: "no", retryable: true });
    expect(clock.elapsedMs).toBe(5_000);
    // Should it come now, the create must not leave: its caller was told that it was not charged.
    give("late-key-0123456789");
    await aMoment();
    expect(server.requests).toHaveLength(0);
    expect(await recordsOf(journal)).toEqual([]);
  },
);

test("the time that a key takes is part of the create's", async () => {
  await using server = await startServer(() => {});
  const clock = new TestClock({ auto: false });
  let give: (key: string) => void = () => {};
  const apiKey = () =>
    new Promise<string>((resolve) => {
      give = resolve;
    });
  const client = clientOf("openaiCompatible", server.url, { timeoutMs: 5_000 }, clock, { apiKey });
  const failure = failureOf(client.generate({ prompt }));
  await aMoment();
  await clock.advance(4_000);
  give("sk-test-0123456789");
  await until(() => server.requests.length === 1);
  await clock.advance(1_000);
  expect(await failure).toMatchObject({ name: "TimeoutError", charged: "unknown" });
  expect(clock.elapsedMs).toBe(5_000);
});

test("an abort while a key is awaited has sent nothing, and asks for no other", async () => {
  const charged: unknown[] = [];
  let asked = 0;
  const apiKey = () => {
    asked += 1;
    return new Promise<string>(() => {});
  };
  for (const name of names) {
    const controller = new AbortController();
    const onEvent: ImageClientOptions["onEvent"] = (event) => {
      if (event.type === "failed") charged.push(event.error.charged);
    };
    const client = clientOf(name, "http://provider.example", { onEvent }, undefined, { apiKey });
    const failure = reasonOf(client.generate({ prompt }, { signal: controller.signal }));
    await until(() => asked > charged.length);
    controller.abort("enough");
    expect(await failure).toBe("enough");
    await aMoment();
  }
  expect(charged).toEqual(["no", "no"]);
  expect(asked).toBe(2);
});

// ---- the caller's own fetch ----

const rejecting = (error: unknown) => async () => {
  throw error;
};
const throwing = (error: unknown) => () => {
  throw error;
};
const coded = (code: string) => Object.assign(new Error(code), { code });

test.for(names)("a fetch that throws at once has sent nothing: %s", async (name) => {
  const journal = memoryJournal();
  let calls = 0;
  const fetch = () => {
    calls += 1;
    throw new Error("no network here");
  };
  const client = clientOf(name, "http://provider.example", { journal, fetch });
  const error = await failureOf(client.generate(...call));
  expect(error).toMatchObject({ name: "ProviderUnavailableError", charged: "no" });
  expect(error.message).toContain("no network here");
  expect(calls).toBe(3);
  expect(await recordsOf(journal)).toEqual([]);
});

const failed = (cause: Error) => new TypeError("fetch failed", { cause });
test.for([
  ["an error of its own", "unknown", new Error("no network here")],
  ["a reset", "unknown", failed(coded("ECONNRESET"))],
  ["a socket that closed", "unknown", failed(coded("UND_ERR_SOCKET"))],
  ["words that are no cause", "unknown", new TypeError("bad port")],
  ["a bad port", "no", failed(new Error("bad port"))],
  ["a connection that was refused", "no", failed(coded("ECONNREFUSED"))],
  ["a connection that took too long", "no", failed(coded("UND_ERR_CONNECT_TIMEOUT"))],
] as const)("where a fetch rejects with %s, a create is charged %s", async ([, charged, error]) => {
  for (const name of names) {
    let calls = 0;
    const fetch = () => {
      calls += 1;
      return rejecting(error)();
    };
    const failure = await failureOf(
      clientOf(name, "http://provider.example", { fetch }).generate({ prompt }),
    );
    expect(failure.charged).toBe(charged);
    expect(calls).toBe(charged === "no" ? 3 : 1);
  }
});

test("Node's own fetch does not connect to a bad port, and nothing was sent", async () => {
  const { fetch } = globalThis;
  const client = clientOf("openaiCompatible", "http://127.0.0.1:6000", { fetch });
  const error = await failureOf(client.generate({ prompt }));
  expect(error).toMatchObject({ charged: "no" });
  expect(error.message).toContain("bad port");
});

// ---- the caller's own dispatcher ----

/** undici 6 as far as it matters here: the old names, and `compose` that hands handlers on as they are. */
class OldDispatcher {
  /** What becomes of a request, told to a handler. */
  readonly act: (handler: OldHandler) => void;

  constructor(act: (handler: OldHandler) => void) {
    this.act = act;
  }

  dispatch(_: object, handler: OldHandler): boolean {
    this.act(handler);
    return true;
  }

  request(options: object): Promise<object> {
    return new Promise((resolve, reject) => {
      this.dispatch(options, {
        onConnect: () => {},
        onHeaders: (statusCode) => resolve({ statusCode, headers: {}, body: [Buffer.from("{}")] }),
        onError: reject,
      });
    });
  }

  compose(interceptor: (dispatch: OldDispatch) => OldDispatch): OldDispatcher {
    const dispatch = interceptor((options, handler) => this.dispatch(options, handler));
    return Object.assign(new OldDispatcher(this.act), { dispatch });
  }
}

interface OldHandler {
  onConnect(abort: (reason?: Error) => void): void;
  onHeaders(statusCode: number): void;
  onError(error: Error): void;
}
type OldDispatch = (options: object, handler: OldHandler) => boolean;

/** As much of a Dispatcher as is called. */
const dispatcherOf = (like: object) => like as unknown as Dispatcher;

const reset = coded("ECONNRESET");
const begun = new OldDispatcher((handler) => {
  handler.onConnect(() => {});
  handler.onError(coded("ECONNREFUSED"));
});
test.for([
  ["undici 6's fails before it begins", "no", new OldDispatcher((each) => each.onError(reset))],
  ["undici 6's fails once it has begun", "unknown", begun],
  ["dispatch throws", "no", new OldDispatcher(throwing(new Error("no")))],
  ["request throws", "no", { request: throwing(new Error("no")) }],
  ["request is refused a connection", "no", { request: rejecting(coded("ECONNREFUSED")) }],
  ["request rejects", "unknown", { request: rejecting(new Error("no")) }],
  ["request is reset", "unknown", { request: rejecting(reset) }],
] as const)("where a dispatcher's %s, a create is charged %s", async ([, charged, like]) => {
  for (const name of names) {
    let attempts = 0;
    const onEvent: ImageClientOptions["onEvent"] = ({ type }) => {
      if (type === "submitting") attempts += 1;
    };
    const journal = memoryJournal();
    const options = { dispatcher: dispatcherOf(like), journal, onEvent };
    const error = await failureOf(
      clientOf(name, "http://provider.example", options).generate(...call),
    );
    expect(error.charged).toBe(charged);
    expect(attempts).toBe(charged === "no" ? 3 : 1);
    expect(await recordsOf(journal)).toHaveLength(charged === "no" ? 0 : 1);
  }
});

test("an Agent of the caller's that gets no TLS handshake has sent nothing, and later sends nothing", async () => {
  await using server = await startRawServer(() => {});
  const dispatcher = new Agent();
  const clock = new TestClock({ auto: false });
  const client = clientOf(
    "openaiCompatible",
    server.url.replace("http:", "https:"),
    { dispatcher, timeoutMs: 5_000 },
    clock,
  );
  const failure = failureOf(client.generate({ prompt }));
  await until(() => server.sockets.size === 1);
  await clock.advance(5_000);
  expect(await failure).toMatchObject({ name: "TimeoutError", charged: "no" });
  await dispatcher.destroy();
});

test("an Agent of the caller's that is reset in the middle of a create may have sent it", async () => {
  await using server = await startRawServer((socket) => {
    socket.once("data", () => socket.resetAndDestroy());
  });
  const dispatcher = new Agent();
  const error = await failureOf(
    clientOf("openaiCompatible", server.url, { dispatcher }).generate({ prompt }),
  );
  expect(error).toMatchObject({ name: "SubmissionUnknownError", charged: "unknown" });
  expect(server.sockets.size).toBe(1);
  await dispatcher.close();
});

test("what a dispatcher begins after its caller was told that nothing was sent is aborted", async () => {
  await using server = await startProvider();
  const agent = new Agent();
  let begin: () => void = () => {};
  /** Deaf to its signal, and slow. */
  class Slow extends Dispatcher {
    override dispatch(
      options: Dispatcher.DispatchOptions,
      handler: Dispatcher.DispatchHandler,
    ): boolean {
      begin = () => agent.dispatch(options, handler);
      return true;
    }
  }
  const clock = new TestClock({ auto: false });
  const options = { dispatcher: new Slow(), timeoutMs: 5_000 };
  const client = clientOf("openaiCompatible", server.url, options, clock);
  const failure = failureOf(client.generate({ prompt }));
  await aMoment();
  await clock.advance(5_000);
  expect(await failure).toMatchObject({ name: "TimeoutError", charged: "no" });
  begin();
  await aMoment();
  expect(server.requests).toHaveLength(0);
  await agent.destroy();
});

test("an Agent with compose answers as it does without", async () => {
  await using server = await startProvider();
  const dispatcher = new Agent().compose(
    (dispatch) => (options, handler) => dispatch(options, handler),
  );
  const client = clientOf("openaiCompatible", server.url, { dispatcher }, systemClock as TestClock);
  const { image } = await client.generate({ prompt });
  expect(pixel.equals(await image.bytes())).toBe(true);
  await dispatcher.close();
});
