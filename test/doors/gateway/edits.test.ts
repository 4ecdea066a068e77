import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { GatewayStage, isPng, openaiMajors } from "./stage";

async function pictureOf(stage: GatewayStage): Promise<Buffer> {
  const response = await stage.post("/images/generations", {
    ...{ prompt: "A web", size: "1024x1024" },
  });
  // What the gateway answers.
  const { data } = (await response.json()) as { data: [{ b64_json: string }] };
  stage.sandbox.reset();
  return Buffer.from(data[0].b64_json, "base64");
}

const background = { r: 0, g: 0, b: 0, alpha: 0 };
const clear = { create: { width: 1024, height: 1024, channels: 4, background } } as const;

const asked = { model: "gpt-image-2", prompt: "Make it snow" } as const;

/** What the upstream was sent, by part. */
const partsOf = (stage: GatewayStage) =>
  stage.sandbox.requests.flatMap(({ body }) =>
    Array.isArray(body)
      ? body.map(({ name, mediaType, value }) => ({ name, mediaType, value }))
      : [],
  );

describe.each(openaiMajors)("edits with $name", (major) => {
  test("of one named file go through, and fields that say null are left out", async () => {
    await using stage = await GatewayStage.open();
    const picture = await pictureOf(stage);
    const image = await major.toFile(picture, "a.png", { type: "image/png" });
    const openai = stage.openai(major);
    // null itself is an error in `openai` 6.49, which asks for the word.
    const nulls = { quality: "null" as never, background: "null" as never };
    const { data } = await openai.images.edit({ ...asked, ...nulls, image, size: "1024x1024" });
    expect(isPng(data?.[0]?.b64_json)).toBe(true);
    expect(stage.sandbox.charges).toHaveLength(1);
    expect(partsOf(stage)).toContainEqual({ name: "image", mediaType: "image/png" });
  });

  test("of files without a name or a type are known by their bytes", async () => {
    await using stage = await GatewayStage.open();
    const picture = await pictureOf(stage);
    const openai = stage.openai(major);
    // A bare Blob would be none of them in `openai` 6.49, which leaves it out and says nothing.
    const image = [await major.toFile(picture), new File([picture], "x.bin")];
    const mask = await major.toFile(await sharp(clear).png().toBuffer());
    const { data } = await openai.images.edit({ ...asked, image, mask });
    expect(isPng(data?.[0]?.b64_json)).toBe(true);
    const files = partsOf(stage).filter(({ mediaType }) => mediaType !== undefined);
    expect(files.map(({ name }) => name)).toEqual(["image[]", "image[]", "mask"]);
    expect(new Set(files.map(({ mediaType }) => mediaType))).toEqual(new Set(["image/png"]));
  });

  test.runIf(major.name === "openai 7")("of a bare Blob go through", async () => {
    await using stage = await GatewayStage.open();
    const picture = await pictureOf(stage);
    const openai = stage.openai(major);
    // Whatever its type says, `openai` 7 sends a Blob as a file.
    const image = new Blob([picture]) as File;
    const { data } = await openai.images.edit({ ...asked, image });
    expect(isPng(data?.[0]?.b64_json)).toBe(true);
  });

  test("of a list of one, and with numbers, which a form writes out", async () => {
    await using stage = await GatewayStage.open();
    const picture = await pictureOf(stage);
    const image = [await major.toFile(picture, "a.png", { type: "image/png" })];
    const { data } = await stage.openai(major).images.edit({
      ...{ ...asked, image, n: 2 },
      ...{ output_format: "jpeg", output_compression: 50 },
    });
    expect(data).toHaveLength(2);
    expect(partsOf(stage)).toContainEqual({ name: "n", value: "2" });
  });

  test("of a Buffer, which comes as one field a byte, say what to do", async () => {
    await using stage = await GatewayStage.open();
    const picture = readFileSync("docs/contact-sheet.png").subarray(0, 20_000);
    const error = await stage
      .openai(major, { maxRetries: 0 })
      .images.edit({ ...asked, image: picture as never })
      .catch((each: unknown) => each);
    expect(error).toBeInstanceOf(major.OpenAI.BadRequestError);
    expect(error).toMatchObject({ param: "image", error: { charged: "no" } });
    expect(String(error)).toContain("wrap it in toFile(bytes, name, { type })");
    expect(stage.creates).toBe(0);
  });
});

const [major] = openaiMajors;
if (major === undefined) throw new Error("no major of openai");

const formOf = (parts: Readonly<Record<string, string | Blob>>) => {
  const form = new FormData();
  for (const [name, value] of Object.entries(parts)) form.append(name, value);
  return form;
};

const send = (stage: GatewayStage, body: FormData) =>
  fetch(`${stage.baseURL}/images/edits`, {
    method: "POST",
    headers: { authorization: "Bearer key-of-anna" },
    body,
  });

describe("a form", () => {
  const file = new File([new Uint8Array(2_000).fill(7)], "a.png", { type: "image/png" });

  test.each([
    ["with a larger body", { maxBodyBytes: 1_000 }, { prompt: "x", image: file }, 413, undefined],
    ["with a larger file", { maxFileBytes: 1_000 }, { prompt: "x", image: file }, 413, "image"],
    ["with more parts", { maxParts: 2 }, { a: "1", b: "2", c: "3", image: file }, 400, undefined],
    ["without an image", {}, { prompt: "x" }, 400, "image"],
    ["with an unknown field", {}, { prompt: "x", image: file, style: "vivid" }, 400, "style"],
    ["with a number that is none", {}, { prompt: "x", image: file, n: "two" }, 400, "n"],
    ["with an image that is text", {}, { prompt: "x", image: "a.png" }, 400, "image"],
  ] as const)("%s is refused, and nothing is sent", async (_, limits, parts, status, param) => {
    await using stage = await GatewayStage.open({ gateway: limits });
    const response = await send(stage, formOf(parts));
    expect(response.status).toBe(status);
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(await response.json()).toMatchObject({ error: { charged: "no", param: param ?? null } });
    expect(stage.creates).toBe(0);
    expect(stage.errors).toEqual([]);
  });

  test("that is refused before its end leaves the connection to the next request", async () => {
    await using stage = await GatewayStage.open({ gateway: { maxFileBytes: 1_000 } });
    let connections = 0;
    stage.server.on("connection", () => {
      connections += 1;
    });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const image = new File([new Uint8Array(4_000_000)], "a.png", { type: "image/png" });
    const form = new Response(formOf({ image, prompt: "x" }));
    const type = form.headers.get("content-type") ?? "";
    const body = Buffer.from(await form.arrayBuffer());
    const ask = (path: string, method: string, sent?: Buffer) =>
      new Promise<number | undefined>((resolve, reject) => {
        const headers = { authorization: "Bearer key-of-anna", "content-type": type };
        const asking = request(
          `${stage.baseURL}${path}`,
          { agent, method, headers },
          (response) => {
            response.resume().on("end", () => resolve(response.statusCode));
          },
        );
        asking.on("error", reject).end(sent);
      });
    try {
      expect(await ask("/images/edits", "POST", body)).toBe(413);
      expect(await ask("/models", "GET")).toBe(200);
      expect(connections).toBe(1);
    } finally {
      agent.destroy();
    }
  });

  test("that breaks off is no form", async () => {
    await using stage = await GatewayStage.open();
    const response = await fetch(`${stage.baseURL}/images/edits`, {
      method: "POST",
      headers: {
        authorization: "Bearer key-of-anna",
        "content-type": "multipart/form-data; boundary=x",
      },
      body: '--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nabc',
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: "invalid_form", charged: "no" } });
  });
});

describe("an edit in JSON", () => {
  test("takes data URLs", async () => {
    await using stage = await GatewayStage.open();
    const picture = await pictureOf(stage);
    const url = `data:image/png;base64,${picture.toString("base64")}`;
    const response = await stage.post("/images/edits", {
      ...{ prompt: "Make it snow", images: [{ image_url: url }] },
    });
    expect(response.status).toBe(200);
    expect(partsOf(stage)).toContainEqual({ name: "image", mediaType: "image/png" });
  });

  test("keeps addresses under the guard, and takes no path", async () => {
    await using stage = await GatewayStage.open();
    const ask = async (image: string) => {
      const response = await stage.post("/images/edits", { prompt: "x", image });
      return { status: response.status, body: await response.json() };
    };
    const inside = await ask("http://169.254.169.254/latest/meta-data");
    expect(inside).toMatchObject({ status: 400, body: { error: { charged: "no" } } });
    expect(await ask("/etc/passwd")).toMatchObject({ status: 400 });
    expect(await ask("file:///etc/passwd")).toMatchObject({ status: 400 });
    expect(stage.creates).toBe(0);
  });
});
