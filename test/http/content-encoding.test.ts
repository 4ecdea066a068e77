import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import zlib from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Body, bodyOf, bytesOf } from "../../src/http/body";
import { decompressed } from "../../src/http/content-encoding";
import { createImageClient, openaiCompatible } from "../../src/index";
import { pictureOf } from "../support/media";
import { startServer } from "../support/server";
import { failureOf, prompt, reasonOf, until } from "../support/stage";

const packers = {
  gzip: (bytes: Buffer) => zlib.gzipSync(bytes),
  "x-gzip": (bytes: Buffer) => zlib.gzipSync(bytes, { level: 1 }),
  deflate: (bytes: Buffer) => zlib.deflateSync(bytes),
  br: (bytes: Buffer) =>
    zlib.brotliCompressSync(bytes, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 4 } }),
} as const;

/** A body in pieces of somebody else's memory. */
function lending(bytes: Buffer, cuts: readonly number[] = []): Body {
  const ends = [...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
  return {
    async each(take) {
      let from = 0;
      for (const to of ends) {
        const lent = Buffer.from(bytes.subarray(from, to));
        const taken = take(lent, true);
        lent.fill("?");
        await taken;
        from = to;
      }
    },
  };
}

const decompressedBytes = (bytes: Buffer, encoding: string, cuts?: readonly number[]) =>
  bytesOf(decompressed(lending(bytes, cuts), encoding));

const coding = fc.constantFrom(...(Object.keys(packers) as (keyof typeof packers)[]));
const content = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.nat(200_000).map((length) => pictureOf(length + 8)),
);
const cuts = fc.array(fc.nat(400), { maxLength: 6 });

test("any bytes, compressed in any way and several times over, come back from any pieces", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(coding, { minLength: 1, maxLength: 3 }),
      content,
      cuts,
      async (codings, bytes, places) => {
        let compressed = Buffer.from(bytes);
        for (const each of codings) compressed = Buffer.from(packers[each](compressed));
        const found = await decompressedBytes(compressed, codings.join(", "), places);
        expect(found.equals(Buffer.from(bytes))).toBe(true);
      },
    ),
    { numRuns: 150 },
  );
});

test("what follows the end of a compressed body is no part of it, whatever it is", async () => {
  const rest = fc.constantFrom("\0\0\0\0", "\n", "garbage", "\x1f", "\x1f\x8b\x07garbage");
  await fc.assert(
    fc.asyncProperty(coding, content, rest, cuts, async (name, bytes, more, places) => {
      const compressed = Buffer.concat([
        packers[name](Buffer.from(bytes)),
        Buffer.from(more, "latin1"),
      ]);
      const all = [...places, compressed.length - more.length, compressed.length - more.length - 3];
      for (const each of [places, all.filter((place) => place > 0)]) {
        const found = await decompressedBytes(compressed, name, each);
        expect(found.equals(Buffer.from(bytes))).toBe(true);
      }
    }),
    { numRuns: 150 },
  );
});

test("a compressed body that breaks off at any place is told of, save that of gzip only its checksum may be missing", async () => {
  const bytes = pictureOf(500);
  for (const [name, pack] of Object.entries(packers)) {
    const compressed = pack(bytes);
    const least = name.endsWith("gzip") ? compressed.length - 8 : compressed.length;
    for (let length = 1; length < least; length += 7) {
      const broken = decompressedBytes(compressed.subarray(0, length), name, [length - 2]);
      expect([name, length, await reasonOf(broken)]).toMatchObject([
        name,
        length,
        { code: "Z_BUF_ERROR" },
      ]);
    }
    if (least < compressed.length) {
      expect((await decompressedBytes(compressed.subarray(0, -3), name)).equals(bytes)).toBe(true);
    }
    expect(await decompressedBytes(Buffer.alloc(0), name)).toHaveLength(0);
  }
});

test("gzip of several members and with all that a header may have is one body", async () => {
  const member = zlib.gzipSync("one ");
  // Extra field, name, comment and checksum of the header.
  const full = Buffer.concat([
    Buffer.from([0x1f, 0x8b, 8, 2 + 4 + 8 + 16, 0, 0, 0, 0, 0, 3]),
    Buffer.from("\x03\0abcname\0a comment\0\x12\x34", "latin1"),
    zlib.gzipSync("two").subarray(10),
  ]);
  const all = Buffer.concat([member, full, member]);
  for (let cut = 1; cut < all.length; cut += 1) {
    expect((await decompressedBytes(all, "gzip", [cut])).toString()).toBe("one twoone ");
  }
});

test("gzip whose checksum is wrong is refused, and so is what is none", async () => {
  const wrong = zlib.gzipSync("hello");
  wrong.writeUInt8(wrong.readUInt8(wrong.length - 8) ^ 1, wrong.length - 8);
  for (const bytes of [wrong, Buffer.from("hello there"), Buffer.alloc(1_000, 1)]) {
    expect(await reasonOf(decompressedBytes(bytes, "gzip"))).toMatchObject({
      code: "Z_DATA_ERROR",
    });
  }
  const endless = Buffer.concat([zlib.gzipSync("").subarray(0, 3), Buffer.alloc(200_000, 8)]);
  expect(await reasonOf(decompressedBytes(endless, "gzip", [70_000]))).toMatchObject({
    code: "Z_DATA_ERROR",
  });
});

test("deflate without zlib's head is understood as well", async () => {
  for (const bytes of [pictureOf(3_000), Buffer.from("hello"), Buffer.alloc(0)]) {
    for (const level of [0, 9]) {
      const compressed = zlib.deflateRawSync(bytes, { level });
      for (const places of [[], [1], [2]]) {
        expect((await decompressedBytes(compressed, "deflate", places)).equals(bytes)).toBe(true);
      }
    }
  }
});

test("zstd is undone where Node can, and refused where it cannot", async () => {
  const pack: unknown = Reflect.get(zlib, "zstdCompressSync");
  const bytes = pictureOf(2_000);
  if (typeof pack === "function") {
    expect((await decompressedBytes(pack(bytes), "zstd")).equals(bytes)).toBe(true);
  } else {
    const frame = Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), bytes]);
    expect(String(await reasonOf(decompressedBytes(frame, "zstd")))).toContain(
      'compressed as "zstd"',
    );
  }
});

test("a name that is no coding changes nothing of what is plainly text or an image", async () => {
  for (const encoding of ["zebra", "constructor", "UTF-8", "aws-chunked", "gzip, zebra"]) {
    for (const bytes of [pictureOf(5_000), Buffer.from('{"é":"日本語"}'), Buffer.from("no\r\n")]) {
      for (const places of [[], [1, 9, 63]]) {
        expect((await decompressedBytes(bytes, encoding, places)).equals(bytes)).toBe(true);
      }
    }
  }
  for (const encoding of ["identity", "", " , Identity", "IDENTITY, gzip"]) {
    const bytes = encoding.includes("gzip") ? zlib.gzipSync("plain") : Buffer.from("plain");
    expect((await decompressedBytes(bytes, encoding)).toString()).toBe("plain");
  }
});

test("compressed bytes of a coding that is not known are never handed out", async () => {
  const compressed = zlib.gzipSync(pictureOf(3_000));
  for (const encoding of ["zebra", "gzip, zebra", "zebra, gzip", "gzip, br, gzip, br, gzip, br"]) {
    const reason = await reasonOf(decompressedBytes(compressed, encoding, [2]));
    expect(String(reason)).toContain(`compressed as "${encoding}"`);
  }
});

test("what fetch may have undone is undone where it has not, and not twice", async () => {
  const picture = pictureOf(2_000);
  for (const [name, pack] of Object.entries(packers)) {
    for (const bytes of [picture, pack(picture)]) {
      const body = decompressed(bodyOf(Readable.from([bytes])), name, true);
      expect([name, (await bytesOf(body)).equals(picture)]).toEqual([name, true]);
    }
  }
});

/** A server whose compressed responses are followed by zeros without end, or by silence. */
async function startTail(encoding: keyof typeof packers, rest: "zeros" | "newline", body: Buffer) {
  const sockets = new Set<unknown>();
  let sent = 0;
  const server: Server = createServer((request, response) => {
    request.resume();
    sockets.add(response.socket);
    response.on("close", () => sockets.delete(response.socket));
    response.writeHead(200, { "content-encoding": encoding });
    response.write(packers[encoding](body));
    const more = rest === "zeros" ? Buffer.alloc(16_384) : Buffer.from("\n");
    const timer = setInterval(() => {
      if (rest === "newline" && sent > 0) return;
      sent += more.length;
      response.write(more);
    }, 5);
    response.on("close", () => clearInterval(timer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    ...{ url: `http://127.0.0.1:${port}`, sockets },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const apiKey = "sk-of-the-test";

test.each([
  ["br", "zeros"],
  ["gzip", "zeros"],
  ["gzip", "newline"],
  ["deflate", "newline"],
] as const)(
  "after the end of a response in %s, followed by %s, nothing more is read, and its connection goes",
  async (encoding, rest) => {
    const picture = pictureOf(3_000);
    const document = JSON.stringify({ data: [{ b64_json: picture.toString("base64") }] });
    await using server = await startTail(encoding, rest, Buffer.from(document));
    const provider = openaiCompatible({ baseURL: server.url, apiKey });
    const { image } = await createImageClient({ provider, timeoutMs: 5_000 }).generate({ prompt });
    expect(Buffer.from(await image.bytes()).equals(picture)).toBe(true);
    await until(() => server.sockets.size === 0);
  },
);

test("an image in a coding that nobody knows is an error, and nothing is saved", async () => {
  const compressed = zlib.gzipSync(pictureOf(3_000));
  await using server = await startServer(({ method }, response) => {
    if (method === "POST") {
      response.end(JSON.stringify({ data: [{ url: `${server.url}/1.png` }] }));
      return;
    }
    response.writeHead(200, { "content-encoding": "gzip, zebra" });
    response.end(compressed);
  });
  const provider = openaiCompatible({ baseURL: server.url, apiKey });
  for (const options of [{}, { fetch: globalThis.fetch }]) {
    const { image } = await createImageClient({ provider, ...options }).generate({ prompt });
    const error = await failureOf(image.bytes());
    expect(error).toMatchObject({ code: "download_failed", charged: "yes" });
    expect(error.message).toContain("zebra");
  }
});

test("a 100 Continue that nobody asked for is named, and the charge is unknown", async () => {
  const server = createServer();
  server.on("connection", (socket) => {
    socket.on("error", () => {});
    socket.once("data", () =>
      socket.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const provider = openaiCompatible({ baseURL: `http://127.0.0.1:${port}`, apiKey });
  for (const options of [{}, { fetch: globalThis.fetch }]) {
    const error = await failureOf(createImageClient({ provider, ...options }).generate({ prompt }));
    expect(error).toMatchObject({ code: "submission_unknown", charged: "unknown" });
    expect(error.message).toContain("100 Continue");
  }
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});
