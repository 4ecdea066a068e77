import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { Agent } from "undici";
import { afterEach, expect, test } from "vitest";
import { LightAbortSignal } from "../../src/async/clock";
import { bytesOf, type Take } from "../../src/http/body";
import { dispatch, NotSentError, type OpenResponse, opened } from "../../src/http/dispatch";
import { startRawServer } from "../support/raw-server";
import { startServer } from "../support/server";
import { aMoment, reasonOf, until, untilStill } from "../support/stage";

const agents: Agent[] = [];

afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.destroy();
});

function agentOf(options: Agent.Options = {}): Agent {
  const agent = new Agent(options);
  agents.push(agent);
  return agent;
}

const ask = (
  url: string,
  agent = agentOf(),
  signal = new LightAbortSignal(),
): Promise<OpenResponse> =>
  dispatch(agent, { origin: url, path: "/", method: "POST", body: "{}" }, { signal }, opened);

/** A server that answers the first request of each connection in bytes of the test's own. */
const startAnswering = (reply: (socket: Socket) => void) =>
  startRawServer((socket) => {
    socket.once("data", () => reply(socket));
  });

test("a response comes whole and in its order, however slowly it is taken", async () => {
  const sent = randomBytes(3_000_000);
  await using server = await startServer((_, response) => {
    for (let at = 0; at < sent.length; at += 70_001) response.write(sent.subarray(at, at + 70_001));
    response.end();
  });
  const { body, status, headers } = await ask(server.url);
  const taken: Uint8Array[] = [];
  let atOnce = 0;
  await body.each(async (chunk) => {
    atOnce += 1;
    expect(atOnce).toBe(1);
    await turn();
    taken.push(Uint8Array.from(chunk));
    atOnce -= 1;
  });
  expect(status).toBe(200);
  expect(headers["transfer-encoding"]).toBe("chunked");
  expect(sent.equals(Buffer.concat(taken))).toBe(true);
});

test("a connection that ends while the last piece is being taken loses nothing, nor does it end the process", async () => {
  const sent = randomBytes(300_000);
  let length = 0;
  let hasClosed: Promise<unknown> | undefined;
  await using server = await startAnswering((socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ${sent.length}\r\n\r\n`);
    socket.write(sent);
    hasClosed = once(socket, "close");
    void until(() => length === sent.length).then(() => socket.end());
  });
  const { body } = await ask(server.url);
  await body.each((chunk) => {
    length += chunk.byteLength;
    return length === sent.length ? hasClosed?.then(aMoment) : undefined;
  });
  expect(length).toBe(sent.length);
});

test("a sender waits while nobody takes what it sends", async () => {
  const total = 64 * 1024 * 1024;
  let written = 0;
  await using server = await startServer((_, response) => {
    const piece = Buffer.alloc(1024 * 1024);
    const write = () => {
      written += piece.length;
      response.write(piece, () => (written < total ? write() : response.end()));
    };
    write();
  });
  const { body } = await ask(server.url);
  await untilStill(() => written);
  // What lies in the buffers of two sockets, and no more.
  expect(written).toBeLessThan(total / 2);
  let length = 0;
  await body.each((chunk) => {
    length += chunk.byteLength;
    return undefined;
  });
  expect(length).toBe(total);
});

test("what was aborted while it waited for a connection is never sent", async () => {
  const waiting: (() => void)[] = [];
  await using server = await startServer((_, response) => {
    waiting.push(() => response.end("{}"));
  });
  const agent = agentOf({ connections: 1 });
  const first = ask(server.url, agent);
  await until(() => waiting.length === 1);
  const end = new LightAbortSignal();
  const second = ask(server.url, agent, end);
  end.abort(new Error("nobody waits"));
  expect(await reasonOf(second)).toMatchObject({ message: "nobody waits" });
  waiting[0]?.();
  expect((await bytesOf((await first).body)).toString()).toBe("{}");
  const third = ask(server.url, agent);
  await until(() => waiting.length === 2);
  waiting[1]?.();
  await bytesOf((await third).body);
  expect(server.requests).toHaveLength(2);
});

test("what was stopped while it waited for a connection is never sent, and what has left goes on", async () => {
  const waiting: (() => void)[] = [];
  await using server = await startServer((_, response) => {
    waiting.push(() => response.end("{}"));
  });
  const agent = agentOf({ connections: 1 });
  const stop = new LightAbortSignal();
  const options = { origin: server.url, path: "/", method: "POST", body: "{}" } as const;
  const ends = { signal: new LightAbortSignal(), stop };
  const first = dispatch(agent, options, ends, opened);
  await until(() => waiting.length === 1);
  const second = reasonOf(dispatch(agent, options, ends, opened));
  stop.abort(new Error("the call has ended"));
  waiting[0]?.();
  expect((await bytesOf((await first).body)).toString()).toBe("{}");
  expect(await second).toBeInstanceOf(NotSentError);
  expect(server.requests).toHaveLength(1);
});

test("what was aborted before it began is never sent", async () => {
  await using server = await startServer((_, response) => response.end("{}"));
  const end = new LightAbortSignal();
  end.abort(new Error("gone"));
  expect(await reasonOf(ask(server.url, agentOf(), end))).toMatchObject({ message: "gone" });
  await aMoment();
  expect(server.requests).toHaveLength(0);
});

test.each(["at once", "later"])(
  "an abort in the middle of a body that is taken %s ends it, and its connection",
  async (how) => {
    await using server = await startAnswering((socket) => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n");
      socket.write(Buffer.alloc(100_000));
    });
    const end = new LightAbortSignal();
    const { body } = await ask(server.url, agentOf(), end);
    let taken = 0;
    const take: Take = (chunk) => {
      taken += chunk.byteLength;
      return how === "at once" ? undefined : new Promise(() => {});
    };
    const reading = body.each(take);
    await until(() => taken > 0);
    end.abort(new Error("enough"));
    expect(await reasonOf(reading)).toMatchObject({ message: "enough" });
    await until(() =>
      [...server.sockets].every((socket) => socket.destroyed || socket.readableEnded),
    );
  },
);

test("what its taker throws or rejects with ends a body, and its connection", async () => {
  const fault = new Error("no room");
  const takes: Take[] = [
    () => {
      throw fault;
    },
    () => Promise.reject(fault),
  ];
  for (const take of takes) {
    await using server = await startAnswering((socket) => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nsome");
    });
    const { body } = await ask(server.url);
    expect(await reasonOf(body.each(take))).toBe(fault);
    await until(() =>
      [...server.sockets].every((socket) => socket.readableEnded || socket.destroyed),
    );
  }
});

test("a response that breaks off is told of also to whoever comes for it later", async () => {
  await using server = await startAnswering((socket) => {
    socket.end("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nsome");
  });
  const { body } = await ask(server.url);
  await until(() => [...server.sockets].every((socket) => socket.writableFinished));
  await aMoment();
  expect(await reasonOf(bytesOf(body))).toBeInstanceOf(Error);
});

test("what a server says before its response is not the response", async () => {
  await using server = await startAnswering((socket) => {
    socket.write("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n");
    socket.write("HTTP/1.1 201 Created\r\nX-Two: a\r\nx-two: b\r\ncontent-length: 2\r\n\r\n{}");
  });
  const { status, headers, body } = await ask(server.url);
  expect(status).toBe(201);
  expect(headers).toMatchObject({ "x-two": "a, b", "content-length": "2" });
  expect((await bytesOf(body)).toString()).toBe("{}");
});

test("connections serve again once their answers were read", async () => {
  await using server = await startServer((_, response) => response.end("{}"));
  const agent = agentOf();
  let connections = 0;
  agent.on("connect", () => {
    connections += 1;
  });
  for (let count = 0; count < 5; count += 1) await bytesOf((await ask(server.url, agent)).body);
  // undici lets one rest for a turn of the event loop before it is used again.
  expect(connections).toBeLessThanOrEqual(2);
});
