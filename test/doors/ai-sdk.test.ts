import {
  createImageClient,
  type ImageClient,
  isImageError,
  localFile,
  ModerationError,
  shortapi,
  trinetra,
} from "gpt-image-client";
import { createImageProvider, imageMetadata, imageModel } from "gpt-image-client/ai-sdk";
import { fakeImageClient, startSandbox } from "gpt-image-client/testing";
import { describe, expect, test } from "vitest";
import {
  clients,
  openaiAt,
  openaiClient,
  poll,
  prompt,
  reasonOf,
  sandbox,
  trinetraClient,
  useSandbox,
} from "./ai-sdk/clients";
import { majors } from "./ai-sdk/majors";

useSandbox();

describe.each(majors)("through generateImage of $name", ({ sdk }) => {
  const { generateImage } = sdk;

  test.each(Object.keys(clients))("%s gives a picture, its job and what it cost", async (name) => {
    const client = clients[name]?.() ?? fakeImageClient();
    const result = await generateImage({ model: imageModel(client), prompt, size: "1024x1024" });

    expect(result.image.mediaType).toBe("image/png");
    expect(result.image.uint8Array.byteLength).toBeGreaterThan(100);
    expect(result.warnings.filter(({ type }) => type === "other")).toEqual([]);
    const [entry] = imageMetadata(result);
    expect(entry).toMatchObject({
      provider: client.name,
      job: { v: 1, provider: client.name, operation: "generate" },
      mediaType: "image/png",
      width: 1024,
      height: 1024,
    });
    // `ai` 7 also gives each image its own.
    const own = Reflect.get(result.image, "providerMetadata");
    if (own !== undefined) expect(own).toEqual({ "gpt-image-client": entry });
    // No page of aigptimage's says what a job costs, and no response of it.
    expect(entry?.cost !== undefined).toBe(name !== "aigptimage");
    expect(result.responses[0]?.timestamp).toBeInstanceOf(Date);
    expect(result.responses[0]?.modelId).toEqual(expect.any(String));
    expect(sandbox.charges).toHaveLength(1);
  });

  test("the job of an image can be resumed by a later process, from JSON", async () => {
    const result = await generateImage({ model: imageModel(trinetraClient()), prompt });
    const { job } = JSON.parse(JSON.stringify(imageMetadata(result)[0]));

    const late = await trinetraClient().resume(job).result();

    expect(Buffer.from(await late.image.bytes())).toEqual(Buffer.from(result.image.uint8Array));
    expect(sandbox.charges).toHaveLength(1);
  });

  test("tokens are the SDK's usage, and the revised prompt stands by its image", async () => {
    await using wrapped = await startSandbox({ openaiAnswers: "both", plainImages: true });
    const client = openaiAt(wrapped);
    const result = await generateImage({ model: imageModel(client), prompt, n: 2 });

    expect(result.usage.inputTokens).toBeGreaterThan(0);
    expect(result.usage.totalTokens).toBe(
      (result.usage.inputTokens ?? 0) + (result.usage.outputTokens ?? 0),
    );
    const entries = imageMetadata(result);
    expect(entries.map(({ revisedPrompt }) => revisedPrompt)).toEqual([prompt, prompt]);
    expect(entries.map(({ cost }) => cost !== undefined)).toEqual([true, false]);
    expect(entries[0]?.cost?.amount).toBeCloseTo(wrapped.charges[0]?.amount ?? Number.NaN, 10);
  });

  test("many images are one call, split as the provider needs it", async () => {
    const result = await generateImage({ model: imageModel(trinetraClient()), prompt, n: 6 });

    expect(result.images).toHaveLength(6);
    expect(result.responses).toHaveLength(1);
    // Four at most are a native request, and the two are sent at once: either may come first.
    expect(sandbox.charges.map(({ images }) => images).sort()).toEqual([2, 4]);
    expect(imageMetadata(result).filter(({ cost }) => cost !== undefined)).toHaveLength(1);
  });

  test("of a split call what succeeded is kept, and what did not is told", async () => {
    sandbox.inject({
      provider: "shortapi",
      phase: "create",
      fault: "refusal",
      status: 400,
      after: 1,
    });
    const client = createImageClient({
      provider: shortapi(sandbox.shortapi),
      poll,
      concurrency: 1,
    });
    const result = await generateImage({ model: imageModel(client), prompt, n: 3 });

    expect(result.images).toHaveLength(2);
    expect(sandbox.charges).toHaveLength(2);
    const [first, second] = imageMetadata(result);
    expect(first?.failures).toMatchObject([{ code: "invalid_request", charged: "no" }]);
    expect(second).not.toHaveProperty("failures");
    const [failure] = first?.failures ?? [];
    expect(result.warnings).toContainEqual({ type: "other", message: failure?.message });
  });

  test("of several images the one that cannot be fetched takes no other with it", async () => {
    sandbox.inject({
      ...{
        provider: "trinetra",
        phase: "download",
        fault: "rate-limited",
        retryAfterSeconds: 9_999,
      },
    });
    const result = await generateImage({ model: imageModel(trinetraClient()), prompt, n: 3 });

    expect(result.images).toHaveLength(2);
    const [first] = imageMetadata(result);
    expect(first?.failures).toMatchObject([
      { code: "download_failed", charged: "yes", url: expect.stringMatching(/^http/) },
    ]);
    expect(first?.cost).toBeDefined();
    expect(sandbox.charges).toHaveLength(1);
  });

  test("images that can none of them be fetched are an error with the job, never an empty list", async () => {
    const fault = { fault: "rate-limited", retryAfterSeconds: 9_999, times: Infinity } as const;
    sandbox.inject({ provider: "trinetra", phase: "download", ...fault });
    const error = await reasonOf(
      generateImage({ model: imageModel(trinetraClient()), prompt, n: 2 }),
    );

    if (!isImageError(error)) throw error;
    expect(error).toMatchObject({ code: "download_failed", charged: "yes" });
    expect(error.job?.reference).toMatchObject({ provider: "trinetra" });
    expect(error.failures).toHaveLength(1);
    expect(sandbox.charges).toHaveLength(1);
  });

  test("our error comes through as it is, after one call", async () => {
    const refusal = new ModerationError({ charged: "no", categories: ["violence"] });
    const client = fakeImageClient({ error: refusal });

    expect(await reasonOf(generateImage({ model: imageModel(client), prompt }))).toBe(refusal);
    expect(client.calls).toHaveLength(1);
  });

  test("an abort rejects with the caller's reason, while the job runs and while the image comes", async () => {
    for (const phase of ["poll", "download"] as const) {
      sandbox.inject({ provider: "trinetra", phase, fault: "hang" });
      const controller = new AbortController();
      const reason = new Error("the user closed the tab");
      const generating = generateImage({
        ...{ model: imageModel(trinetraClient()), prompt, abortSignal: controller.signal },
      });
      const rejecting = reasonOf(generating);
      await expect.poll(() => sandbox.requests.some((each) => each.phase === phase)).toBe(true);
      controller.abort(reason);
      expect(await rejecting).toBe(reason);
      expect(sandbox.charges).toHaveLength(1);
      sandbox.reset();
    }
  });

  test("a signal that has aborted sends nothing", async () => {
    const reason = new Error("too late");
    const abortSignal = AbortSignal.abort(reason);
    const model = imageModel(trinetraClient());

    expect(await reasonOf(generateImage({ model, prompt, abortSignal }))).toBe(reason);
    expect(sandbox.requests).toEqual([]);
  });
});

describe("a model", () => {
  test("says what its client takes", () => {
    const upload = () => "https://a.test/1.png";
    const uploading = createImageClient({ provider: trinetra(sandbox.trinetra), upload });
    const supportOf = (client: ImageClient) => {
      const { supportsFileInputs, supportsMaskInputs } = imageModel(client);
      return { supportsFileInputs, supportsMaskInputs };
    };
    expect(supportOf(openaiClient())).toEqual({
      supportsFileInputs: true,
      supportsMaskInputs: true,
    });
    expect(supportOf(trinetraClient())).toEqual({
      ...{ supportsFileInputs: false, supportsMaskInputs: false },
    });
    expect(supportOf(uploading)).toEqual({ supportsFileInputs: true, supportsMaskInputs: false });
    const { edit: _, ...capabilities } = fakeImageClient().capabilities;
    expect(supportOf({ ...fakeImageClient(), capabilities })).toEqual({
      ...{ supportsFileInputs: false, supportsMaskInputs: false },
    });
  });

  test("is called by its own name, and its provider by the client's", () => {
    const client = fakeImageClient({ name: "acme" });
    expect(imageModel(client)).toMatchObject({
      ...{ provider: "gpt-image-client.acme", modelId: "gpt-image-2" },
    });
    expect(imageModel(client, { modelId: "mine" }).modelId).toBe("mine");
  });

  test("is made of a client, and of nothing else", () => {
    const provider = trinetra(sandbox.trinetra);
    // What JavaScript lets through.
    expect(() => imageModel(provider as never)).toThrow("`client` is invalid: expected a client");
    expect(() => createImageProvider({ a: fakeImageClient(), b: provider as never })).toThrow(
      "`clients.b` is invalid",
    );
    expect(() => imageModel(undefined as never)).toThrow("got undefined");
  });

  test("called without the SDK takes a data URL for what it is", async () => {
    const { image } = await openaiClient().generate({ prompt });
    const data = `data:image/png;base64,${await image.base64()}`;
    const { images } = await imageModel(openaiClient()).doGenerate({
      ...{ prompt, n: 1, size: undefined, aspectRatio: undefined, seed: undefined },
      ...{ files: [{ type: "file", mediaType: "image/png", data }], mask: undefined },
      providerOptions: {},
    });
    expect(images).toHaveLength(1);
  });

  test("takes no path on this machine for an image", async () => {
    const { path } = localFile("package.json");
    const error = await reasonOf(
      imageModel(openaiClient()).doGenerate({
        ...{ prompt, n: 1, size: undefined, aspectRatio: undefined, seed: undefined },
        ...{ files: [{ type: "url", url: path }], mask: undefined, providerOptions: {} },
      }),
    );
    expect(error).toMatchObject({ code: "invalid_request", field: "images[0]" });
    expect(sandbox.requests).toEqual([]);
  });
});
