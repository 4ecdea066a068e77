import type { Agent } from "undici";
import type { Agent as NewestAgent, MockAgent as NewestMockAgent } from "undici-newest";
import { expectTypeOf, test } from "vitest";
import {
  type AnyImageError,
  aigptimage,
  type CallOptions,
  createImageClient,
  type EditRequest,
  type GeneratedImage,
  type GenerateRequest,
  type ImageClient,
  type ImageClientOptions,
  type ImageEvent,
  type ImageInput,
  type ImageJob,
  type ImageRequest,
  type ImageResult,
  isImageError,
  localFile,
  openai,
  openaiCompatible,
  shortapi,
  trinetra,
} from "../../src/index";
import { fakeImageClient, startSandbox } from "../../src/testing/index";

declare const client: ImageClient;
declare const result: ImageResult;
declare const caught: unknown;

test("a result has at least one image", () => {
  expectTypeOf(result.images).toEqualTypeOf<readonly [GeneratedImage, ...GeneratedImage[]]>();
  expectTypeOf(result.images[0]).toEqualTypeOf<GeneratedImage>();
  expectTypeOf(result.images[1]).toEqualTypeOf<GeneratedImage | undefined>();
  expectTypeOf(result.image).toEqualTypeOf<GeneratedImage>();
});

test("every method of a client gives what it says", () => {
  expectTypeOf(client.generate).returns.resolves.toEqualTypeOf<ImageResult>();
  expectTypeOf(client.edit).returns.resolves.toEqualTypeOf<ImageResult>();
  expectTypeOf(client.submit).returns.resolves.toEqualTypeOf<ImageJob>();
  expectTypeOf(client.resume).parameter(0).toBeUnknown();
  expectTypeOf(client.generate).parameter(1).toEqualTypeOf<CallOptions | undefined>();
  expectTypeOf(client.generate).parameter(0).toEqualTypeOf<GenerateRequest>();
  expectTypeOf(client.edit).parameter(0).toEqualTypeOf<EditRequest>();
  expectTypeOf(client.check).parameter(0).toEqualTypeOf<ImageRequest>();
});

test("an edit needs images, and a generation takes none", () => {
  client.edit({ prompt: "x", images: ["https://a.test/1.png"] });
  // @ts-expect-error: images are missing
  client.edit({ prompt: "x" });
  // @ts-expect-error: one image is a list of one
  client.edit({ prompt: "x", images: "https://a.test/1.png" });
  // @ts-expect-error: with images it is an edit
  client.generate({ prompt: "x", images: ["https://a.test/1.png"] });
  // @ts-expect-error: a prompt is needed
  client.generate({});
});

test("an input is one of few things, and no path in an object", () => {
  expectTypeOf(localFile("a.png")).toExtend<ImageInput>();
  expectTypeOf<Buffer>().toExtend<ImageInput>();
  expectTypeOf<File>().toExtend<ImageInput>();
  expectTypeOf<URL>().toExtend<ImageInput>();
  expectTypeOf<number>().not.toExtend<ImageInput>();
  expectTypeOf<ArrayBuffer>().toExtend<ImageInput>();
});

test("a dispatcher may be that of another undici than ours", () => {
  type Given = NonNullable<ImageClientOptions["dispatcher"]>;
  expectTypeOf<Agent>().toExtend<Given>();
  expectTypeOf<NewestAgent>().toExtend<Given>();
  expectTypeOf<NewestMockAgent>().toExtend<Given>();
  expectTypeOf<object>().not.toExtend<Given>();
});

test("vocabularies are open, and fields are not", () => {
  client.generate({ prompt: "x", quality: "xhigh", size: "1280x1024", outputFormat: "avif" });
  // @ts-expect-error: here it is aspectRatio
  client.generate({ prompt: "x", aspect_ratio: "1:1" });
  // @ts-expect-error: a number
  client.generate({ prompt: "x", n: "2" });
});

test("provider options are typed for each provider", () => {
  client.generate({
    prompt: "x",
    providerOptions: {
      shortapi: { model: "m" },
      aigptimage: { model: "m" },
      trinetra: { model: "m" },
      openai: { extraBody: { seed: 7 } },
      mine: { anything: 1 },
    },
  });
  // @ts-expect-error: no such option
  client.generate({ prompt: "x", providerOptions: { shortapi: { modell: "m" } } });
  // @ts-expect-error: no such option
  client.generate({ prompt: "x", providerOptions: { aigptimage: { seed: 1 } } });
  // @ts-expect-error: a string
  client.generate({ prompt: "x", providerOptions: { trinetra: { model: 1 } } });
  // @ts-expect-error: a model belongs to openai({ model })
  client.generate({ prompt: "x", providerOptions: { openai: { model: "m" } } });
});

test("a gateway needs its URL and its key, the presets need nothing", () => {
  openaiCompatible({ baseURL: "https://g.test/v1", apiKey: "k" });
  openaiCompatible({ baseURL: "https://g.test/v1", apiKey: async () => "k" });
  // @ts-expect-error: no key is taken from the environment
  openaiCompatible({ baseURL: "https://g.test/v1" });
  // @ts-expect-error: no URL to go to
  openaiCompatible({ apiKey: "k" });
  // @ts-expect-error: neither
  openaiCompatible();
  for (const provider of [openai(), shortapi(), aigptimage(), trinetra()]) {
    createImageClient({ provider });
  }
  // @ts-expect-error: a provider is made by calling it
  createImageClient({ provider: trinetra });
  // @ts-expect-error: no such option
  createImageClient({ provider: trinetra(), retries: 3 });
});

test("the code of an error tells its class", () => {
  if (!isImageError(caught)) return;
  expectTypeOf(caught).toEqualTypeOf<AnyImageError>();
  switch (caught.code) {
    case "invalid_request":
      expectTypeOf(caught.field).toEqualTypeOf<string | undefined>();
      return;
    case "unsupported":
      expectTypeOf(caught.field).toEqualTypeOf<string>();
      return;
    case "moderation":
      expectTypeOf(caught.categories).toEqualTypeOf<readonly string[]>();
      return;
    case "timeout":
      expectTypeOf(caught.timeoutMs).toEqualTypeOf<number>();
      return;
    case "download_failed":
      expectTypeOf(caught.url).toEqualTypeOf<string | undefined>();
      return;
    case "callback_failed":
      expectTypeOf(caught.callback).toEqualTypeOf<string>();
      return;
    case "budget_exceeded":
      expectTypeOf(caught.renewsAt).toEqualTypeOf<Date | undefined>();
      return;
    case "authentication":
    case "permission_denied":
    case "insufficient_credits":
    case "rate_limited":
    case "generation_failed":
    case "submission_unknown":
    case "malformed_response":
    case "provider_unavailable":
    case "client_closed":
    case "journal_failed":
      expectTypeOf(caught.charged).toEqualTypeOf<"no" | "yes" | "unknown">();
      return;
    default:
      expectTypeOf(caught).toBeNever();
  }
});

test("every error has the base's facts", () => {
  expectTypeOf<AnyImageError["retryable"]>().toEqualTypeOf<boolean>();
  expectTypeOf<AnyImageError["job"]>().toEqualTypeOf<ImageJob | undefined>();
  expectTypeOf<AnyImageError["raw"]>().toBeUnknown();
});

test("the type of an event tells what it has", () => {
  const event = {} as ImageEvent;
  if (event.type === "status") expectTypeOf(event.known).toEqualTypeOf<boolean>();
  if (event.type === "retry") {
    expectTypeOf(event.phase).toEqualTypeOf<"create" | "poll" | "download">();
  }
  // @ts-expect-error: only a saved one has a file
  event.file;
});

test("a client of one's own is an ImageClient", () => {
  const inner = createImageClient({ provider: trinetra() });
  const router = {
    name: "router",
    capabilities: inner.capabilities,
    check: (request: ImageRequest) => inner.check(request),
    estimate: () => undefined,
    generate: (request: GenerateRequest, options?: CallOptions) => inner.generate(request, options),
    edit: (request: EditRequest) => inner.edit(request),
    submit: (request: ImageRequest) => inner.submit(request),
    resume: (reference: unknown) => inner.resume(reference),
    close: async () => {},
    [Symbol.asyncDispose]: async () => {},
  } satisfies ImageClient;
  expectTypeOf(router).toExtend<ImageClient>();
  expectTypeOf(fakeImageClient).returns.toExtend<ImageClient>();
});

test("the sandbox's access goes into a provider as it is", async () => {
  const sandbox = await startSandbox();
  shortapi(sandbox.shortapi);
  openaiCompatible(sandbox.openaiCompatible);
});
