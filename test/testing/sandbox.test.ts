import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { type SandboxProvider, startSandbox } from "../../src/testing/sandbox";
import {
  headersFor,
  imageUrl,
  pass,
  poll,
  post,
  responseOf,
  restart,
  samples,
  sandbox,
  stopClock,
  useSandbox,
} from "./support/requests";

useSandbox();

test.each([
  ["response_format", "b64_json"],
  ["style", "vivid"],
  ["input_fidelity", "high"],
  ["n", 11],
  ["n", "1"],
  ["size", "1000x1000"],
  ["size", "3856x2160"],
  ["size", "512x512"],
  ["size", "3840x1024"],
  ["size", "3840x3840"],
  ["size", "big"],
  ["size", undefined],
  ["model", "gpt-image-9"],
  ["quality", "best"],
  ["output_compression", 101],
])("the OpenAI-compatible endpoint refuses %s: %j", async (field, value) => {
  const body = { ...samples.openaiCompatible, [field]: value };
  expect(await responseOf(await post("openaiCompatible", body))).toMatchObject([
    400,
    { error: { type: "invalid_request_error", param: field } },
  ]);
  expect(sandbox.charges).toEqual([]);
});

const forms: [SandboxProvider, number, (code: unknown) => object][] = [
  ["shortapi", 401, (code) => ({ code, info: expect.any(String) })],
  ["aigptimage", 401, (code) => ({ code, msg: expect.any(String) })],
  ["trinetra", 401, () => ({ error: { message: expect.any(String) } })],
  ["openaiCompatible", 401, () => ({ error: { message: expect.any(String) } })],
];

test.each(forms)("%s refuses a wrong key in its own form", async (provider, status, form) => {
  const wrong = { authorization: "Bearer wrong", "x-api-key": "wrong" };
  expect(await responseOf(await post(provider, undefined, wrong))).toMatchObject([
    status,
    form(status),
  ]);
  expect(sandbox.jobs).toEqual([]);
});

test.each(forms)("%s refuses bad JSON, no body and another type", async (provider, _, form) => {
  for (const [body, headers, status] of [
    ["{", {}, 400],
    ["", {}, 400],
    ["prompt=x", { "content-type": "text/plain" }, 415],
  ] as const)
    expect(await responseOf(await post(provider, body, headers))).toMatchObject([
      status,
      form(status),
    ]);
});

test.each(forms)("%s refuses a field that its page does not list", async (provider, _, form) => {
  const response = await post(provider, { ...samples[provider], seed: 7 });
  expect(response.status).toBe({ shortapi: 200, aigptimage: 422 }[provider as string] ?? 400);
  const body = await response.json();
  expect(body).toMatchObject(form(expect.any(Number)));
  expect(JSON.stringify(body)).toContain("seed");
});

test.each(forms)("%s knows no other paths", async (provider, _, form) => {
  const response = await fetch(`${sandbox[provider].baseURL}/v9/nothing`);
  expect(await responseOf(response)).toMatchObject([404, form(404)]);
  expect(sandbox.requests).toMatchObject([{ provider, phase: "unknown" }]);
});

test("a path of no provider is answered with 404", async () => {
  expect((await fetch(`${sandbox.url}/nothing`)).status).toBe(404);
  expect((await fetch(`${sandbox.url}/pictures/nothing`)).status).toBe(404);
  expect(sandbox.requests).toMatchObject([
    { provider: "unknown", phase: "unknown" },
    { provider: "cdn", phase: "download", path: "/pictures/nothing" },
  ]);
});

test("images lie on the providers' own origin, or on one of their own where that is asked for", async () => {
  expect(sandbox.cdnUrl).toBe(sandbox.url);
  expect(new URL(await imageUrl()).origin).toBe(sandbox.url);
  await restart({ separateCdn: true });
  expect(sandbox.cdnUrl).not.toBe(sandbox.url);
  const url = await imageUrl();
  expect(new URL(url).origin).toBe(sandbox.cdnUrl);
  expect((await fetch(url)).headers.get("content-type")).toBe("image/png");
  expect((await fetch(url.replace(sandbox.cdnUrl, sandbox.url))).status).toBe(404);
  expect((await fetch(`${sandbox.cdnUrl}/nothing`)).status).toBe(404);
});

test("the log shows what arrived, and whether it carried a key", async () => {
  const url = await imageUrl();
  await fetch(url);
  await fetch(url, { headers: { authorization: "Bearer oops" } });
  const { jobId } = sandbox.jobs[0] ?? {};
  expect(sandbox.requests).toMatchObject([
    {
      provider: "shortapi",
      phase: "create",
      method: "POST",
      body: samples.shortapi,
      jobId,
      carriedKey: true,
    },
    { provider: "shortapi", phase: "poll", path: `/shortapi/api/v1/job/query?id=${jobId}`, jobId },
    { provider: "cdn", phase: "download", jobId, carriedKey: false },
    {
      provider: "cdn",
      phase: "download",
      headers: { authorization: "Bearer oops" },
      carriedKey: true,
    },
  ]);
});

test("an image is served with its type and length, to GET and HEAD alone", async () => {
  const url = await imageUrl();
  const response = await fetch(url);
  const bytes = await response.arrayBuffer();
  expect(response.headers.get("content-type")).toBe("image/png");
  expect(response.headers.get("content-length")).toBe(String(bytes.byteLength));
  expect((await fetch(url, { method: "HEAD" })).headers.get("content-length")).toBe(
    String(bytes.byteLength),
  );
  expect((await fetch(url, { method: "POST" })).status).toBe(405);
});

test("an image expires, and a fresh query hands out a fresh URL", async () => {
  await restart({ imageTtlMs: 40 });
  stopClock();
  const url = await imageUrl();
  expect((await fetch(url)).status).toBe(200);
  pass(41);
  expect((await fetch(url)).status).toBe(403);
  const again = await poll("shortapi", sandbox.jobs[0]?.jobId ?? "");
  expect((await fetch(again.data.result.images[0].url)).status).toBe(200);
});

test("reset forgets everything that happened", async () => {
  const url = await imageUrl();
  sandbox.inject({ provider: "shortapi", phase: "create", fault: "hang" });
  sandbox.reset();
  expect([sandbox.requests, sandbox.charges, sandbox.jobs]).toEqual([[], [], []]);
  expect((await fetch(url)).status).toBe(404);
  expect((await post("shortapi")).status).toBe(200);
});

test("a body of more than 64 MiB is refused", async () => {
  expect((await post("trinetra", "x".repeat(64 * 1024 * 1024 + 1))).status).toBe(413);
});

test("nonsense on the wire does not bring the sandbox down", async () => {
  const port = Number(new URL(sandbox.url).port);
  for (const bytes of ["\0\0nonsense\r\n\r\n", "GET http://[ HTTP/1.1\r\nhost: x\r\n\r\n"]) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write(bytes);
    await new Promise((resolve) => socket.once("data", resolve).once("close", resolve));
    socket.destroy();
  }
  const torn = connect(port, "127.0.0.1");
  torn.write(
    "POST /trinetra/v1/image/gpt-image-2 HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
  );
  await sleep(10);
  torn.destroy();
  const form = await fetch(`${sandbox.openaiCompatible.baseURL}/images/edits`, {
    method: "POST",
    headers: {
      ...headersFor("openaiCompatible"),
      "content-type": "multipart/form-data; boundary=x",
    },
    body: "--x\r\nnonsense",
  });
  expect(form.status).toBe(400);
  expect((await post("trinetra")).status).toBe(202);
});

test("a port that is taken is an error", async () => {
  await expect(startSandbox({ port: Number(new URL(sandbox.url).port) })).rejects.toThrow(
    "EADDRINUSE",
  );
});

test("a sandbox ends by itself at the end of its block", async () => {
  let url = "";
  {
    await using short = await startSandbox();
    url = short.url;
    expect((await fetch(url)).status).toBe(404);
  }
  await expect(fetch(url)).rejects.toThrow("fetch failed");
});
