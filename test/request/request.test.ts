import { expect, test } from "vitest";
import { createImageClient, localFile, openai, shortapi } from "../../src/index";
import { shown } from "../../src/parse/shown";
import { isLocalFile, parseRequest } from "../../src/request/request";
import { onePixelPng } from "../providers/fixtures";

const parse = (fields: object) => parseRequest("generate", { prompt: "x", ...fields });
const problemsIn = (fields: object) => {
  const parsed = parse(fields);
  return "problems" in parsed ? parsed.problems : [];
};
const prompt = "A heron in the reeds, painted in ink";

test("what has another name is said before what is missing for it", () => {
  const parsed = parseRequest("generate", { promt: "x", n: 0 });
  const problems = "problems" in parsed ? parsed.problems : [];
  expect(problems.map(({ field }) => field)).toEqual(["promt", "prompt", "n"]);
  expect(problems[0]?.message).toContain("There is no `promt`; did you mean `prompt`?");
});

test("a prompt is all that a request needs, and n is then one", () => {
  expect(parse({})).toEqual({
    request: {
      operation: "generate",
      n: 1,
      fields: { prompt: "x" },
      providerOptions: {},
      images: [],
    },
  });
});

test("an explicit undefined is a field that was not given", () => {
  const fields = { size: undefined, n: undefined, aspectRatio: "1:1", images: undefined };
  expect(parse({ ...fields, mask: undefined, providerOptions: undefined })).toMatchObject({
    request: { n: 1, fields: { prompt: "x", aspectRatio: "1:1" } },
  });
  expect(problemsIn({ prompt: undefined })).toMatchObject([{ field: "prompt", given: "nothing" }]);
});

test.each([
  [{ prompt: "" }, "prompt"],
  [{ prompt: " \n" }, "prompt"],
  [{ prompt: 7 }, "prompt"],
  [{ n: 0 }, "n"],
  [{ n: -1 }, "n"],
  [{ n: 1.5 }, "n"],
  [{ n: "2" }, "n"],
  [{ n: Number.NaN }, "n"],
  [{ n: null }, "n"],
  [{ n: 10_001 }, "n"],
  [{ n: Number.MAX_SAFE_INTEGER }, "n"],
  [{ size: "" }, "size"],
  [{ size: 1024 }, "size"],
  [{ aspectRatio: null }, "aspectRatio"],
  [{ resolution: [] }, "resolution"],
  [{ quality: "" }, "quality"],
  [{ background: false }, "background"],
  [{ outputFormat: {} }, "outputFormat"],
  [{ outputCompression: 101, outputFormat: "jpeg" }, "outputCompression"],
  [{ outputCompression: -1, outputFormat: "jpeg" }, "outputCompression"],
  [{ outputCompression: "80", outputFormat: "jpeg" }, "outputCompression"],
  [{ moderation: 1 }, "moderation"],
  [{ user: "" }, "user"],
  [{ webhookUrl: "app.test/hook" }, "webhookUrl"],
  [{ webhookUrl: "ftp://app.test/hook" }, "webhookUrl"],
  [{ providerOptions: [] }, "providerOptions"],
  [{ providerOptions: null }, "providerOptions"],
])(
  "%j is refused, and the message names the field, what was given and what is taken",
  (fields, field) => {
    const [problem, ...more] = problemsIn(fields);
    expect(more).toEqual([]);
    expect(problem).toMatchObject({
      name: "InvalidRequestError",
      code: "invalid_request",
      charged: "no",
      field,
      given: expect.stringMatching(/./),
      taken: expect.stringMatching(/./),
    });
    const { given, taken } = Object(problem);
    for (const part of [field, given, taken]) expect(problem?.message).toContain(part);
  },
);

test("every problem is found at once", () => {
  const fields = problemsIn({ prompt: "", n: 0, size: 7, colour: "red" }).map(
    (problem) => Object(problem).field,
  );
  expect(fields.sort()).toEqual(["colour", "n", "prompt", "size"]);
});

test("a size beside a ratio or a resolution contradicts itself", () => {
  const both = { size: "1024x1024", aspectRatio: "1:1", resolution: "1K" };
  expect(problemsIn(both)).toMatchObject([{ field: "aspectRatio" }, { field: "resolution" }]);
});

test("compression needs a format that has one", () => {
  expect(problemsIn({ outputCompression: 80 })).toMatchObject([{ field: "outputCompression" }]);
  expect(problemsIn({ outputCompression: 80, outputFormat: "png" })).toHaveLength(1);
  for (const outputFormat of ["jpeg", "webp"]) {
    for (const outputCompression of [0, 100]) {
      expect(problemsIn({ outputCompression, outputFormat })).toEqual([]);
    }
  }
});

test.each([
  ["aspect_ratio", "aspectRatio"],
  ["output_format", "outputFormat"],
  ["num_images", "n"],
  ["image_url", "images"],
  ["callback_url", "webhookUrl"],
  ["model", "providerOptions.<provider>.model"],
  ["images", "client.edit"],
  ["mask", "client.edit"],
])("an unknown field %s hints at %s", (field, hint) => {
  const [problem] = problemsIn({ [field]: ["https://a.test/1.png"] });
  expect(problem).toMatchObject({ field, taken: expect.stringContaining(hint) });
});

test("a field with a name that every object has gets no hint and no crash", () => {
  for (const field of ["constructor", "toString", "__proto__"]) {
    const request = JSON.parse(`{"prompt":"x","${field}":{"a":1}}`) as unknown;
    expect(() => parseRequest("generate", request)).not.toThrow();
  }
  expect(problemsIn({ toString: 1 })).toMatchObject([
    { taken: expect.stringMatching(/^there are prompt, n, /) },
  ]);
});

test.each([
  ["as the request itself", prompt],
  ["under a misspelt name", { promt: prompt }],
  ["under another client's name", { prompt: "x", text: prompt }],
  ["in a list", { prompt: [prompt] }],
  ["in an object", { prompt: { text: prompt } }],
  ["too long for the provider", { prompt: prompt.repeat(2_000) }],
  ["beside another mistake", { prompt, n: 0 }],
  ["in an option", { prompt: "x", providerOptions: { shortapi: { prompt } } }],
])("a prompt %s never stands in a message", async (_how, request) => {
  const client = createImageClient({
    provider: shortapi({ apiKey: "k" }),
    fetch: () => Promise.reject(new Error("nothing shall be sent")),
  });
  const error = await client.generate(request as never).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: "invalid_request", charged: "no" });
  expect(JSON.stringify(error)).not.toContain("heron");
  expect(String(error)).not.toContain("heron");
});

test.each([undefined, null, 7, "x", [], () => 1])("a request of %j is no request", (value) => {
  expect(parseRequest("generate", value)).toMatchObject({ problems: [{ charged: "no" }] });
  expect(parseRequest("edit", value)).toHaveProperty("problems");
});

test("an edit needs at least one image", () => {
  for (const images of [[], "https://a.test/1.png", null]) {
    expect(parseRequest("edit", { prompt: "x", images })).toMatchObject({
      problems: [{ field: "images" }],
    });
  }
  expect(parseRequest("edit", { prompt: "x" })).toMatchObject({ problems: [{ field: "images" }] });
});

test.each([
  ["https://a.test/1.png"],
  ["HTTP://a.test"],
  ["data:image/png;base64,AAAA"],
  [new URL("https://a.test/1.png")],
  [new Uint8Array([1])],
  [new ArrayBuffer(3)],
  [onePixelPng],
  [new Blob(["x"])],
  [new File(["x"], "a.png")],
  [localFile("a.png")],
])("%o is an input image", (input) => {
  expect(parseRequest("edit", { prompt: "x", images: [input], mask: input })).toMatchObject({
    request: { images: [input], mask: input },
  });
});

test.each([
  ["/etc/passwd", '"/etc/passwd"'],
  ["./a.png", '"./a.png"'],
  ["C:\\a.png", '"C:\\\\a.png"'],
  ["file:///etc/passwd", '"file:///etc/passwd"'],
  [new URL("file:///etc/passwd"), "a URL"],
  ["https://", '"https://"'],
  ["data:image/png;base64,", '"data:image/png;base64,"'],
  ["", '""'],
  [new Uint8Array(), "0 bytes"],
  [new Blob([]), "a Blob"],
  [JSON.parse(JSON.stringify(Buffer.from("abc"))), "a Buffer that went through JSON"],
  [{ path: "/etc/passwd" }, "a plain object"],
  [JSON.parse(JSON.stringify(localFile("/etc/passwd"))), "a plain object"],
  [new ArrayBuffer(0), "0 bytes"],
  [new SharedArrayBuffer(3), "a SharedArrayBuffer"],
  [null, "null"],
  [undefined, "nothing"],
  [7, "7"],
])("%o is no input image, and the message says what it was", (input, given) => {
  const parsed = parseRequest("edit", { prompt: "x", images: ["https://a.test/1.png", input] });
  expect(parsed).toMatchObject({ problems: [{ field: "images[1]", given, charged: "no" }] });
  expect(Object(parsed).problems[0].taken).toContain("localFile");
});

test("no JSON can forge a local file", () => {
  expect(isLocalFile(localFile("a"))).toBe(true);
  expect(isLocalFile(JSON.parse(JSON.stringify(localFile("a"))))).toBe(false);
  expect(isLocalFile({ path: "a", "Symbol(gpt-image-client.localFile)": true })).toBe(false);
  expect(isLocalFile(null)).toBe(false);
});

test("what is shown of a value is short", () => {
  expect(shown("size", "x".repeat(100))).toHaveLength(63);
  expect(shown("prompt", "x".repeat(1_234))).toBe("1,234 characters");
  expect(shown("images", [1, 2, 3])).toBe("a list of 3");
  expect(shown("x", Object.create(null))).toBe("a plain object");
  expect(shown("x", new Map())).toBe("a Map");
  expect(shown("x", 5n)).toBe("a bigint");
  expect(shown("x", Symbol("s"))).toBe("a symbol");
});

test("options for other providers are left alone, and one's own are strict", () => {
  const client = createImageClient({ provider: openai({ apiKey: "k" }) });
  const others = { shortapi: { nonsense: 1 }, trinetra: { anything: true }, openai: undefined };
  expect(client.check({ prompt: "x", providerOptions: others as never })).toEqual([]);
  const own = { openai: { extrabody: {} } };
  expect(client.check({ prompt: "x", providerOptions: own as never })).toMatchObject([
    { field: "providerOptions.openai.extrabody", code: "invalid_request" },
  ]);
  for (const wrong of [7, "x", null, []]) {
    const problems = client.check({ prompt: "x", providerOptions: { openai: wrong } as never });
    expect(problems).toMatchObject([{ field: "providerOptions.openai" }]);
  }
});

test("a prompt in extraBody never stands in a message", () => {
  const client = createImageClient({ provider: openai({ apiKey: "k" }) });
  const providerOptions = { openai: { extraBody: { prompt } } };
  const [problem] = client.check({ prompt: "x", providerOptions });
  expect(problem).toMatchObject({ field: "providerOptions.openai.extraBody.prompt" });
  expect(problem?.message).not.toContain("heron");
});
