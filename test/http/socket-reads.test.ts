import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { Agent, buildConnector } from "undici";
import { expect, test, vi } from "vitest";
import { LightAbortSignal } from "../../src/async/clock";
import { bytesOf } from "../../src/http/body";
import { dispatch, type OpenResponse, opened, type ResponseReader } from "../../src/http/dispatch";
import { SocketReads } from "../../src/http/socket-reads";
import { type Scheme, schemes, startRawServer } from "../support/raw-server";
import { aMoment, reasonOf, until, untilStill } from "../support/stage";

/** A server that answers every request in bytes and cuts of the test's own, and a pool that lends. */
async function startPair(scheme: Scheme, response: (socket: Socket) => unknown) {
  const serve = (socket: Socket) => {
    socket.setNoDelay(true);
    socket.on("data", () => response(socket));
  };
  const server = await startRawServer(serve, scheme);
  const reads = new SocketReads();
  const connect = { port: 0, onread: reads.onread, rejectUnauthorized: false };
  const agent = new Agent({ connect: buildConnector(connect), pipelining: 1 });
  const request = { origin: server.url, path: "/", method: "GET" } as const;
  return {
    ask: (signal = new LightAbortSignal()): Promise<OpenResponse> =>
      dispatch(agent, request, { signal }, opened, reads),
    /** Hears of the response at once. */
    read: <Value>(read: ResponseReader<Value>): Promise<Value> =>
      dispatch(agent, request, { signal: new LightAbortSignal() }, read, reads),
    connections: () => server.sockets.size,
    async [Symbol.asyncDispose]() {
      await agent.destroy();
      await server[Symbol.asyncDispose]();
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
  const response = (socket: Socket) => drip(socket, [head.slice(0, cut), `${head.slice(cut)}1234`]);
  await using pair = await startPair(scheme, response);
  for (cut = 1; cut < head.length; cut += 1) {
    const { headers, body } = await pair.ask();
    expect(headers).toEqual({ "x-one": "first", "x-two": "second second", "content-length": "4" });
    expect((await bytesOf(body)).toString()).toBe("1234");
  }
  // One may not be free yet when the next request leaves.
  expect(pair.connections()).toBeLessThanOrEqual(2);
});

const early = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n";

test("a head that begins in one piece with another is whole, wherever it is cut", async () => {
  const head = headOf(500, "x-one: first\r\n");
  // Long enough to be written over all of what came first.
  const sent = "1234".repeat(125);
  let cut = 0;
  const response = (socket: Socket) =>
    drip(socket, [early + head.slice(0, cut), head.slice(cut) + sent]);
  await using pair = await startPair("http", response);
  for (cut = 1; cut < head.length; cut += 1) {
    const { headers, body } = await pair.ask();
    expect(headers).toEqual({ "x-one": "first", "content-length": "500" });
    expect((await bytesOf(body)).toString()).toBe(sent);
  }
});

test("answers that come whole in one piece each keep apart from the next", async () => {
  let count = 0;
  await using pair = await startPair("http", (socket) => {
    count += 1;
    socket.write(headOf(1_000) + String(count % 10).repeat(1_000));
  });
  const answers = [];
  for (let asked = 1; asked <= 5; asked += 1) answers.push((await pair.ask()).body);
  const bodies = await Promise.all(answers.map(bytesOf));
  expect(bodies.map((each) => each.toString())).toEqual(
    [1, 2, 3, 4, 5].map((each) => String(each).repeat(1_000)),
  );
});

test("answers that come whole in one piece each come through one block of memory", async () => {
  await using pair = await startPair("http", (socket) =>
    socket.write(headOf(1_000) + "a".repeat(1_000)),
  );
  const pieces: { block: unknown; isBorrowed: boolean }[] = [];
  for (let asked = 0; asked < 5; asked += 1) {
    await pair.read(({ body }) =>
      body.each((chunk, isBorrowed) => {
        pieces.push({ block: chunk.buffer, isBorrowed });
        return undefined;
      }),
    );
  }
  expect(pieces.map(({ isBorrowed }) => isBorrowed)).toEqual([true, true, true, true, true]);
  expect(new Set(pieces.map(({ block }) => block)).size).toBe(1);
});

test.each(schemes)("a head that comes byte by byte after another is whole (%s)", async (scheme) => {
  const response = (socket: Socket) => drip(socket, `${early}${headOf(3, "x-one: first\r\n")}abc`);
  await using pair = await startPair(scheme, response);
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
    const response = (socket: Socket) => {
      count += 1;
      socket.write(headOf(sent.length));
      socket.write(Buffer.concat([sent.subarray(count), sent.subarray(0, count)]));
    };
    await using pair = await startPair(scheme, response);
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

test.each(schemes)("a sender waits while nobody takes what it sends (%s)", async (scheme) => {
  const total = 64 * 1024 * 1024;
  let written = 0;
  await using pair = await startPair(scheme, (socket) => {
    socket.write(headOf(total));
    const piece = Buffer.alloc(1024 * 1024);
    const write = () => {
      written += piece.length;
      if (written <= total) socket.write(piece, write);
    };
    write();
  });
  const { body } = await pair.ask();
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

test.each(schemes)("a large body comes through a few blocks of memory (%s)", async (scheme) => {
  const sent = randomBytes(3_000_000);
  await using pair = await startPair(scheme, (socket) => {
    socket.write(headOf(sent.length));
    socket.write(sent);
  });
  // Over TLS what the socket had already is copied while somebody takes his time.
  const patiences = scheme === "http" ? [2, 3, 100_000] : [100_000];
  for (const patience of patiences) {
    const { body } = await pair.ask();
    const blocks = new Set<unknown>();
    let count = 0;
    await body.each((chunk) => {
      blocks.add(chunk.buffer);
      count += 1;
      return count % patience > 0 ? undefined : turn();
    });
    expect(count).toBeGreaterThan(40);
    // One, and that of the piece which came with the head.
    expect(blocks.size).toBeLessThanOrEqual(2);
  }
});

const endings = {
  "an end, as announced": ["connection: close\r\n", (socket: Socket) => socket.end()],
  "an end": ["", (socket: Socket) => socket.end()],
  "a reset, as announced": ["connection: close\r\n", (socket: Socket) => socket.resetAndDestroy()],
  "a reset": ["", (socket: Socket) => socket.resetAndDestroy()],
} as const;

test.each(Object.keys(endings))(
  "a connection that comes to %s while the last piece is being taken loses nothing",
  async (name) => {
    // They are those of the table.
    const [more, end] = endings[name as keyof typeof endings];
    const sent = randomBytes(300_000);
    let length = 0;
    let hasClosed: Promise<unknown> | undefined;
    await using pair = await startPair("http", (socket) => {
      socket.write(headOf(sent.length, more));
      socket.write(sent);
      hasClosed = once(socket, "close");
      void until(() => length === sent.length).then(() => end(socket));
    });
    const { body } = await pair.ask();
    const taken: Uint8Array[] = [];
    await body.each((chunk) => {
      taken.push(Buffer.from(chunk));
      length += chunk.byteLength;
      return length === sent.length ? hasClosed?.then(aMoment) : undefined;
    });
    expect(sent.equals(Buffer.concat(taken))).toBe(true);
  },
);

test.each(["an end", "a reset"])(
  "a body that breaks off by %s while a piece is being taken is told to have",
  async (how) => {
    await using pair = await startPair("http", (socket) => {
      socket.write(headOf(1_000_000));
      socket.write(randomBytes(100_000));
      setImmediate(() => (how === "an end" ? socket.end() : socket.resetAndDestroy()));
    });
    const { body } = await pair.ask();
    expect(await reasonOf(body.each(() => aMoment()))).toBeInstanceOf(Error);
  },
);

test.each(schemes)(
  "a connection whose sender had to wait serves the next call (%s)",
  async (scheme) => {
    const sent = randomBytes(500_000);
    await using pair = await startPair(scheme, (socket) => {
      socket.write(headOf(sent.length));
      socket.write(sent);
    });
    for (let count = 0; count < 5; count += 1) {
      const { body } = await pair.ask();
      const taken: Uint8Array[] = [];
      await body.each((chunk) => {
        taken.push(Buffer.from(chunk));
        return turn();
      });
      expect(sent.equals(Buffer.concat(taken))).toBe(true);
      await aMoment();
    }
    expect(pair.connections()).toBe(1);
  },
);

test.each(schemes)(
  "a chunked body with trailers comes whole, however it is cut (%s)",
  async (scheme) => {
    const sent = randomBytes(150_000);
    const framed = Buffer.concat([
      Buffer.from("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
      ...[0, 50_000, 100_000].flatMap((at) => [
        Buffer.from("c350\r\n"),
        sent.subarray(at, at + 50_000),
        Buffer.from("\r\n"),
      ]),
      Buffer.from("0\r\nx-trailer: one\r\n\r\n"),
    ]);
    let cut = 0;
    const response = (socket: Socket) => {
      const cuts = [framed.subarray(0, cut), framed.subarray(cut, -9), framed.subarray(-9)];
      return drip(socket, cuts);
    };
    await using pair = await startPair(scheme, response);
    for (cut of [10, 47, 48, 55, 60, 20_000, 50_057, 50_060, 50_066, framed.length - 20]) {
      const { body } = await pair.ask();
      expect(sent.equals(await bytesOf(body))).toBe(true);
    }
  },
);

test.each(["at once", "slowly"])(
  "a parser that does not read at once finds what came, as it came, and it is taken %s",
  async (how) => {
    const sent = randomBytes(400_000);
    const pieces = Array.from({ length: 40 }, (_, at) =>
      sent.subarray(at * 10_000, (at + 1) * 10_000),
    );
    await using pair = await startPair("http", (socket) =>
      drip(socket, [headOf(sent.length), ...pieces]),
    );
    const { body } = await pair.ask();
    const { emit } = Socket.prototype;
    let count = 0;
    const spy = vi.spyOn(Socket.prototype, "emit").mockImplementation(function (
      this: Socket,
      ...call: [string | symbol, ...unknown[]]
    ) {
      if (call[0] !== "readable") return Reflect.apply(emit, this, call);
      count += 1;
      if (count % 4 === 0) return Reflect.apply(emit, this, call);
      // Mostly it hears of it later, when more may have come.
      void aMoment().then(() => Reflect.apply(emit, this, call));
      return true;
    });
    const taken: Uint8Array[] = [];
    try {
      await body.each((chunk) => {
        taken.push(Buffer.from(chunk));
        return how === "slowly" ? aMoment() : undefined;
      });
    } finally {
      spy.mockRestore();
    }
    expect(sent.equals(Buffer.concat(taken))).toBe(true);
  },
);
