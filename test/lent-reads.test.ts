import { randomBytes } from "node:crypto";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { createServer as createTlsServer } from "node:tls";
import { Agent, buildConnector } from "undici";
import { expect, test } from "vitest";
import { bytesOf } from "../src/body";
import { Ending } from "../src/clock";
import { dispatch, type OpenAnswer } from "../src/dispatch";
import { lentReads } from "../src/lent-reads";
import { certificate } from "./support/certificate";

const schemes = ["http", "https"] as const;
type Scheme = (typeof schemes)[number];

/** A server that answers every request in bytes and cuts of the test's own, and a pool that lends. */
async function startPair(scheme: Scheme, answer: (socket: Socket) => unknown) {
  const sockets = new Set<Socket>();
  const serve = (socket: Socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.on("data", () => answer(socket));
  };
  const server = scheme === "http" ? createTcpServer(serve) : createTlsServer(certificate, serve);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // A server that listens to TCP has the address of one.
  const { port } = server.address() as AddressInfo;
  const options = { onread: lentReads(), rejectUnauthorized: false };
  const agent = new Agent({
    // Its types know this option together with a port alone.
    connect: buildConnector(options as Parameters<typeof buildConnector>[0]),
  });
  const request = { origin: `${scheme}://127.0.0.1:${port}`, path: "/", method: "GET" } as const;
  return {
    ask: (signal = new Ending()): Promise<OpenAnswer> => dispatch(agent, request, { signal }),
    connections: () => sockets.size,
    async [Symbol.asyncDispose]() {
      await agent.destroy();
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const headOf = (length: number, more = "") =>
  `HTTP/1.1 200 OK\r\n${more}content-length: ${length}\r\n\r\n`;

/** Writes so that each piece arrives by itself. */
async function drip(socket: Socket, pieces: Iterable<string | Uint8Array>): Promise<void> {
  for (const piece of pieces) {
    await new Promise((resolve) => socket.write(piece, resolve));
    await turn();
    await turn();
  }
}

test.each(schemes)("a head is whole, wherever it is cut (%s)", async (scheme) => {
  const head = headOf(4, "x-one: first\r\nx-two: second second\r\n");
  let cut = 0;
  const answer = (socket: Socket) => drip(socket, [head.slice(0, cut), `${head.slice(cut)}1234`]);
  await using pair = await startPair(scheme, answer);
  for (cut = 1; cut < head.length; cut += 1) {
    const { headers, body } = await pair.ask();
    expect(headers).toEqual({ "x-one": "first", "x-two": "second second", "content-length": "4" });
    expect((await bytesOf(body)).toString()).toBe("1234");
  }
  // One may not be free yet when the next request leaves.
  expect(pair.connections()).toBeLessThanOrEqual(2);
});

test.each(schemes)("a head that comes byte by byte after another is whole (%s)", async (scheme) => {
  const early = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n";
  const answer = (socket: Socket) => drip(socket, `${early}${headOf(3, "x-one: first\r\n")}abc`);
  await using pair = await startPair(scheme, answer);
  for (let count = 0; count < 3; count += 1) {
    const { headers, body } = await pair.ask();
    expect(headers).toEqual({ "x-one": "first", "content-length": "3" });
    expect((await bytesOf(body)).toString()).toBe("abc");
  }
});

test.each(schemes)(
  "bodies that come at once keep apart, however slowly each is taken (%s)",
  async (scheme) => {
    const sent = randomBytes(2_000_000);
    let count = 0;
    const answer = (socket: Socket) => {
      count += 1;
      socket.write(headOf(sent.length));
      socket.write(Buffer.concat([sent.subarray(count), sent.subarray(0, count)]));
    };
    await using pair = await startPair(scheme, answer);
    const take = async (patience: number) => {
      const { body } = await pair.ask();
      const taken: Uint8Array[] = [];
      await body.each((chunk) => {
        taken.push(Buffer.from(chunk));
        if (taken.length % patience > 0) return undefined;
        return turn();
      });
      return Buffer.concat(taken);
    };
    const bodies = [1, 2, 3, 5, 50].map(take);
    const turns = new Set<number>();
    for (const body of await Promise.all(bodies)) {
      const shift = [1, 2, 3, 4, 5].find((by) =>
        body.equals(Buffer.concat([sent.subarray(by), sent.subarray(0, by)])),
      );
      if (shift !== undefined) turns.add(shift);
    }
    expect([...turns].sort()).toEqual([1, 2, 3, 4, 5]);
  },
);

test.each(schemes)(
  "a body that nobody takes yet is whole when it is taken (%s)",
  async (scheme) => {
    const sent = randomBytes(3_000_000);
    await using pair = await startPair(scheme, (socket) =>
      socket.write(Buffer.concat([Buffer.from(headOf(sent.length)), sent])),
    );
    const answers = await Promise.all([pair.ask(), pair.ask()]);
    for (let count = 0; count < 50; count += 1) await turn();
    const [first, second] = await Promise.all(answers.map(({ body }) => bytesOf(body)));
    expect(first?.equals(sent)).toBe(true);
    expect(second?.equals(sent)).toBe(true);
  },
);

test.each(schemes)("a large body comes through a few blocks of memory (%s)", async (scheme) => {
  const sent = randomBytes(3_000_000);
  await using pair = await startPair(scheme, (socket) => {
    socket.write(headOf(sent.length));
    socket.write(sent);
  });
  for (const patience of [2, Number.POSITIVE_INFINITY]) {
    const { body } = await pair.ask();
    const blocks = new Set<unknown>();
    let count = 0;
    await body.each((chunk) => {
      blocks.add(chunk.buffer);
      count += 1;
      return count % patience > 0 ? undefined : turn();
    });
    expect(count).toBeGreaterThan(40);
    // One, its spare, and what a head was in; over TLS what was on its way is copied.
    if (scheme === "http") expect(blocks.size).toBeLessThanOrEqual(4);
    else expect(blocks.size).toBeLessThan(count / 2);
  }
});
