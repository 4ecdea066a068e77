import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  aigptimage,
  type ImageInput,
  localFile,
  openai,
  openaiCompatible,
  shortapi,
  trinetra,
  type UploadedImage,
} from "../../src/index";
import type { InputRule } from "../../src/provider";
import { inputProblems } from "../../src/request/inputs";
import { resolveInputs } from "../../src/request/read-inputs";
import { gif, jpegHead, onePixelPng, pages, stubbed } from "../providers/fixtures";
import { directory, useDirectory } from "../support/directory";
import { fixture } from "../support/fixtures";

useDirectory();

const byBytes: InputRule = {
  as: "bytes",
  maxCount: 16,
  mediaTypes: ["image/png", "image/jpeg"],
  maxBytes: 1_000,
  mask: true,
};
const byUrl: InputRule = { as: "url", maxCount: 16, mask: false };

function resolve(
  images: readonly ImageInput[],
  rule: InputRule,
  more: Partial<Parameters<typeof resolveInputs>[2]> = {},
  mask?: ImageInput,
) {
  return resolveInputs(images, mask, {
    provider: "p",
    rule,
    trustedOrigin: "https://p.test",
    upload: undefined,
    fetchBytes: () => Promise.reject(new Error("nothing shall be fetched")),
    ...more,
  });
}

const dataUrl = `data:image/png;base64,${onePixelPng.toString("base64")}`;

test.each<[string, () => ImageInput, string]>([
  ["bytes", () => new Uint8Array(onePixelPng), "images-0.png"],
  ["a Buffer", () => onePixelPng, "images-0.png"],
  ["a Blob", () => new Blob([onePixelPng]), "images-0.png"],
  ["a File", () => new File([onePixelPng], "cat.png"), "cat.png"],
  ["a File without a name", () => new File([onePixelPng], ""), "images-0.png"],
  ["a data URL", () => dataUrl, "images-0.png"],
  ["a data URL as a URL", () => new URL(dataUrl), "images-0.png"],
  ["a data URL with percents", () => `data:,${percent(onePixelPng)}`, "images-0.png"],
])("%s becomes a file with its true type and a name", async (_what, input, fileName) => {
  const { imageFiles, imageUrls } = await resolve([input()], byBytes);
  expect(imageUrls).toEqual([]);
  expect(imageFiles).toMatchObject([{ mediaType: "image/png", fileName }]);
  expect(onePixelPng.equals(imageFiles[0]?.bytes ?? new Uint8Array())).toBe(true);
});

function percent(bytes: Uint8Array): string {
  return [...bytes].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
}

test("a local file is read when the request is sent, and keeps its name", async () => {
  const path = join(directory, "street.png");
  const input = localFile(path);
  await writeFile(path, onePixelPng);
  const { imageFiles } = await resolve([input], byBytes);
  expect(imageFiles).toMatchObject([{ mediaType: "image/png", fileName: "street.png" }]);
});

test("a local file that is missing is named with its path, and nothing was charged", async () => {
  const { client, calls } = stubbed(openai({ apiKey: "k" }), () => new Response("{}"));
  const path = join(directory, "missing.png");
  const edit = client.edit({ prompt: "x", images: [onePixelPng, localFile(path)] });
  await expect(edit).rejects.toMatchObject({
    code: "invalid_request",
    field: "images[1]",
    given: `localFile("${path}")`,
    taken: "an image that can be read",
    message: expect.stringContaining("ENOENT"),
    charged: "no",
    cause: { code: "ENOENT" },
  });
  expect(calls).toHaveLength(0);
});

test("a web URL is fetched for a provider that takes bytes", async () => {
  const asked: string[] = [];
  const { imageFiles } = await resolve(["https://a.test/x", new URL("https://a.test/y")], byBytes, {
    fetchBytes: async (url) => {
      asked.push(url);
      return onePixelPng;
    },
  });
  expect(asked).toEqual(["https://a.test/x", "https://a.test/y"]);
  expect(imageFiles).toHaveLength(2);
});

test("a web URL that cannot be fetched is named, with why", async () => {
  const cause = new Error("HTTP 404");
  const edit = resolve(["https://a.test/x"], byBytes, { fetchBytes: () => Promise.reject(cause) });
  await expect(edit).rejects.toMatchObject({
    field: "images[0]",
    given: '"https://a.test/x"',
    taken: "an image that can be read",
    message: expect.stringContaining(". HTTP 404."),
    cause,
  });
});

test.each(["http://169.254.169.254/latest/meta-data", "http://127.0.0.1:9/x", "http://[::1]/x"])(
  "%s is not fetched: a stranger's URL may not lead into our network",
  async (url) => {
    const { client, calls } = stubbed(openai({ apiKey: "k" }), () => new Response(onePixelPng));
    const edit = client.edit({ prompt: "x", images: [url] });
    await expect(edit).rejects.toMatchObject({ code: "invalid_request", field: "images[0]" });
    expect(calls).toHaveLength(0);
  },
);

test("a data URL that holds no base64 is named", async () => {
  await expect(resolve(["data:image/png;base64,%%%"], byBytes)).rejects.toMatchObject({
    code: "invalid_request",
    field: "images[0]",
  });
});

test.each<[string, Uint8Array, string]>([
  ["a GIF", gif, "image/gif"],
  ["a HEIC", fixture("libheif.heic"), "image/heic"],
  ["a drawing", fixture("plain.svg"), "image/svg+xml"],
  ["text", Buffer.from("hello"), "5 bytes of no known image format"],
])("%s is no type that the provider reads, whatever its name says", async (_what, bytes, given) => {
  const input = new File([new Uint8Array(bytes)], "a.png", { type: "image/png" });
  await expect(resolve([input], byBytes)).rejects.toMatchObject({
    field: "images[0]",
    given,
    taken: "image/png, image/jpeg",
    charged: "no",
  });
});

test("a file that is too large is refused with both sizes", async () => {
  const large = Buffer.concat([onePixelPng, Buffer.alloc(1_000)]);
  await expect(resolve([large], byBytes)).rejects.toMatchObject({
    given: `${large.byteLength} bytes`,
    taken: "at most 1000 bytes",
  });
});

test("without a list of types any image of pixels will do, and nothing else will", async () => {
  const { mediaTypes: _, ...open } = byBytes;
  expect((await resolve([gif], open)).imageFiles).toMatchObject([{ mediaType: "image/gif" }]);
  await expect(resolve([Buffer.from("x")], open)).rejects.toMatchObject({
    taken: "PNG, JPEG or WebP",
  });
  for (const [name, given] of [
    ["libheif.heic", "image/heic"],
    ["plain.svg", "image/svg+xml"],
  ] as const) {
    const wrong = { code: "invalid_request", charged: "no", given, taken: "PNG, JPEG or WebP" };
    await expect(resolve([fixture(name)], open)).rejects.toMatchObject(wrong);
  }
});

test("a mask goes along as a file, and only a PNG is one", async () => {
  const { mask } = await resolve([jpegHead], byBytes, {}, onePixelPng);
  expect(mask).toMatchObject({ mediaType: "image/png", fileName: "mask.png" });
  await expect(resolve([onePixelPng], byBytes, {}, jpegHead)).rejects.toMatchObject({
    field: "mask",
    given: "image/jpeg",
  });
});

test("URLs pass to a provider that takes URLs as they are", async () => {
  const { imageUrls, imageFiles } = await resolve(
    ["https://a.test/1.png?x=1&y=2", new URL("https://a.test/2.png")],
    byUrl,
  );
  expect(imageUrls).toEqual(["https://a.test/1.png?x=1&y=2", "https://a.test/2.png"]);
  expect(imageFiles).toEqual([]);
});

test("bytes for a provider that takes URLs go through upload, with type and name", async () => {
  const uploaded: UploadedImage[] = [];
  const upload = async (image: UploadedImage) => {
    uploaded.push(image);
    return new URL(`https://bucket.test/${image.fileName}`);
  };
  const { imageUrls } = await resolve([onePixelPng, dataUrl, "https://a.test/1.png"], byUrl, {
    upload,
  });
  expect(imageUrls).toEqual([
    "https://bucket.test/images-0.png",
    "https://bucket.test/images-1.png",
    "https://a.test/1.png",
  ]);
  expect(uploaded).toMatchObject([
    { mediaType: "image/png", fileName: "images-0.png" },
    { mediaType: "image/png", fileName: "images-1.png" },
  ]);
});

test("upload is handed bytes that fetch takes, of memory that threads share too", async () => {
  const shared = new Uint8Array(new SharedArrayBuffer(onePixelPng.byteLength));
  shared.set(onePixelPng);
  const bodies: Uint8Array[] = [];
  const upload = async ({ bytes, fileName }: UploadedImage) => {
    bodies.push(new Uint8Array(await new Response(bytes).arrayBuffer()));
    return `https://bucket.test/${fileName}`;
  };
  await resolve([shared, onePixelPng], byUrl, { upload });
  expect(bodies.map((each) => Buffer.compare(each, onePixelPng))).toEqual([0, 0]);
});

test.each([shortapi, aigptimage, trinetra])(
  "without upload, bytes are refused by name before anything is sent",
  async (provider) => {
    const { client, calls } = stubbed(provider({ apiKey: "k" }), () => new Response("{}"));
    for (const input of [onePixelPng, new Blob([onePixelPng]), dataUrl, localFile("a.png")]) {
      await expect(client.edit({ prompt: "x", images: [input] })).rejects.toMatchObject({
        code: "unsupported",
        field: "images[0]",
        taken: expect.stringContaining("upload"),
        charged: "no",
      });
    }
    expect(calls).toHaveLength(0);
  },
);

test.each([
  undefined,
  null,
  "",
  7,
  {},
  "a.png",
  "ftp://a.test/1",
  "data:image/png;base64,AA",
  "https://",
])("an upload that returns %j is told so, and nothing is sent", async (returned) => {
  const { client, calls } = stubbed(trinetra({ apiKey: "k" }), () => new Response("{}"), {
    upload: () => returned as never,
  });
  await expect(client.edit({ prompt: "x", images: [onePixelPng] })).rejects.toMatchObject({
    code: "invalid_request",
    field: "images[0]",
    given: expect.stringContaining("from `upload`"),
    taken: "an http(s) URL",
  });
  expect(calls).toHaveLength(0);
});

test("an upload to plain http does not serve a provider that takes https alone", async () => {
  const upload = () => "http://bucket.test/1.png";
  const { client } = stubbed(aigptimage({ apiKey: "k" }), () => new Response("{}"), { upload });
  await expect(client.edit({ prompt: "x", images: [onePixelPng] })).rejects.toMatchObject({
    code: "invalid_request",
    taken: "a public https URL",
  });
});

test("an upload that throws is the caller's own error, as the cause", async () => {
  const cause = new Error("bucket full");
  for (const upload of [
    () => Promise.reject(cause),
    () => {
      throw cause;
    },
  ]) {
    const { client, calls } = stubbed(trinetra({ apiKey: "k" }), () => new Response("{}"), {
      upload,
    });
    await expect(client.edit({ prompt: "x", images: [onePixelPng] })).rejects.toMatchObject({
      code: "callback_failed",
      callback: "upload",
      cause,
      charged: "no",
    });
    expect(calls).toHaveLength(0);
  }
});

test("bytes that are no image are found before upload is called", async () => {
  let called = false;
  const upload = () => {
    called = true;
    return "https://a.test/1.png";
  };
  await expect(resolve([Buffer.from("x")], byUrl, { upload })).rejects.toMatchObject({
    code: "invalid_request",
  });
  expect(called).toBe(false);
});

test("an uploaded input is what the provider is sent", async () => {
  const { client, calls } = stubbed(
    trinetra({ apiKey: "k" }),
    (_url, init) =>
      new Response(init?.method === "POST" ? pages.trinetra.created : pages.trinetra.succeeded),
    { upload: async () => "https://bucket.test/1.png" },
  );
  await client.edit({ prompt: "x", images: [localFile(join(directory, "street.png"))] });
  expect(JSON.parse(String(calls[0]?.init?.body))).toMatchObject({
    image_url: "https://bucket.test/1.png",
  });
});

test("plain http is refused where https is needed, save at the provider's own host", () => {
  const context = { provider: "p", trustedOrigin: "http://localhost:8080", upload: undefined };
  const rule = { ...byUrl, httpsOnly: true };
  const problems = inputProblems(
    ["http://a.test/1.png", "https://a.test/1.png", "http://localhost:8080/1.png"],
    undefined,
    { ...context, rule },
  );
  expect(problems).toMatchObject([{ field: "images[0]", code: "unsupported" }]);
});

test("what went through JSON, is empty or is a path is refused at once with its place", () => {
  const { client } = stubbed(
    openaiCompatible({ baseURL: "https://g.test/v1", apiKey: "k" }),
    () => new Response("{}"),
  );
  const images = [
    onePixelPng,
    JSON.parse(JSON.stringify(onePixelPng)),
    new Uint8Array(),
    "/etc/passwd",
    new URL("file:///etc/passwd"),
  ];
  expect(client.check({ prompt: "x", images }).map((problem) => Object(problem).field)).toEqual([
    "images[1]",
    "images[2]",
    "images[3]",
    "images[4]",
  ]);
});

test("an input without bytes or URL is a mistake whatever onUnsupported says", () => {
  const { client } = stubbed(trinetra({ apiKey: "k" }), () => new Response("{}"), {
    onUnsupported: "omit",
  });
  expect(client.check({ prompt: "x", images: [onePixelPng] })).toMatchObject([
    { code: "unsupported", field: "images[0]" },
  ]);
});

test("an image of a result goes by its URL where URLs are taken, and as bytes elsewhere", async () => {
  let loads = 0;
  const image = {
    url: "https://cdn.test/1.png",
    async bytes() {
      loads += 1;
      return onePixelPng;
    },
  };
  expect((await resolve([image], byUrl)).imageUrls).toEqual([image.url]);
  expect(loads).toBe(0);
  expect((await resolve([image], byBytes)).imageFiles).toMatchObject([{ mediaType: "image/png" }]);
  expect(loads).toBe(1);
  const upload = () => "https://host.test/up.png";
  const withoutUrl = await resolve([{ bytes: image.bytes }], byUrl, { upload });
  expect(withoutUrl.imageUrls).toEqual(["https://host.test/up.png"]);
});
