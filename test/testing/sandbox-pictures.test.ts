import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import sharp from "sharp";
import { expect, test, vi } from "vitest";
import {
  decode,
  dimensionsOf,
  finished,
  generate,
  imageUrl,
  jobDurationMs,
  post,
  replaceSandbox,
  responseOf,
  restart,
  samples,
  sandbox,
  useSandbox,
} from "./support/requests";

useSandbox();

test("words are drawn, the same for the same prompt, however hostile the prompt", async () => {
  await restart({ plainImages: false });
  const draw = async (prompt: string, more = {}) =>
    decode((await generate({ prompt, ...more })).data[0]);
  const first = await draw('A <b>fox</b> & "friends"');
  expect(await draw('A <b>fox</b> & "friends"')).toEqual(first);
  expect(await draw("A wolf")).not.toEqual(first);
  const hostile = `\0\ud800]]></text>${"森".repeat(2_000)} ${"word ".repeat(5_000)}`;
  expect(await dimensionsOf(await draw(hostile))).toBe("png 1024x1024");
  const clear = await draw("A wolf", { background: "transparent", output_format: "webp" });
  expect((await sharp(clear).stats()).isOpaque).toBe(false);
  expect(await dimensionsOf(clear)).toBe("webp 1024x1024");
});

test("an edit shows the picture that was edited", async () => {
  await restart({ plainImages: false });
  const draw = async (image: string) => {
    const reply = await finished("shortapi", {
      model: "openai/gpt-image-2/edit",
      args: { prompt: "make it snow", images: [image] },
    });
    return Buffer.from(await (await fetch(reply.data.result.images[0].url)).arrayBuffer());
  };
  const server = createServer((_, response) => response.end("<p>no picture</p>"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // An IP server that listens has an address with a port.
  const page = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const own = await imageUrl();
  const withPicture = await draw(own);
  const withoutPicture = await draw(`${sandbox.cdnUrl}/missing.png`);
  expect(await dimensionsOf(withPicture)).toBe("png 1024x1024");
  expect(withPicture).not.toEqual(withoutPicture);
  // An address where nobody listens, and one that serves no picture, only leave the frame out.
  expect(await draw("http://127.0.0.1:9/a.png")).toEqual(withoutPicture);
  expect(await draw(page)).toEqual(withoutPicture);
  expect(sandbox.requests.filter(({ path }) => own.endsWith(path))).toEqual([]);
  server.close();
});

test("a prompt that starts with test is drawn plain at once", async () => {
  await restart({ plainImages: false });
  const reply = await finished("shortapi", {
    model: samples.shortapi.model,
    args: { prompt: "test of a fox" },
  });
  const bytes = await (await fetch(reply.data.result.images[0].url)).arrayBuffer();
  expect(bytes.byteLength).toBeLessThan(20_000);
});

test("without sharp there is PNG, and a clear sentence for the rest", async () => {
  await sandbox.close();
  vi.resetModules();
  vi.doMock("sharp", () => {
    throw new Error("Cannot find package 'sharp'");
  });
  const fresh = await import("../../src/testing/sandbox");
  replaceSandbox(await fresh.startSandbox({ jobDurationMs }));
  const reply = await finished("shortapi");
  expect(await dimensionsOf(reply.data.result.images[0].url)).toBe("png 1024x1024");
  expect(
    await responseOf(await post("trinetra", { prompt: "a fox", output_format: "webp" })),
  ).toEqual([
    400,
    {
      error: { code: 400, message: expect.stringContaining('needs the optional package "sharp"') },
    },
  ]);
  expect(sandbox.jobs).toHaveLength(1);
  vi.doUnmock("sharp");
});
