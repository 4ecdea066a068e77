import { createImageClient, directoryJournal, openaiCompatible } from "gpt-image-client";
import {
  createImageGateway,
  directoryStore,
  type ImageGatewayOptions,
} from "gpt-image-client/gateway";
import { fakeImageClient } from "gpt-image-client/testing";
import { afterEach, expect, test, vi } from "vitest";
import { authorize } from "./support";

afterEach(() => {
  vi.restoreAllMocks();
});

const client = fakeImageClient();
const good: ImageGatewayOptions = { models: { m: client }, authorize };
const provider = openaiCompatible({ baseURL: "http://127.0.0.1:1", apiKey: "sk-of-the-test" });

/** A store that several gateways share. */
const leased = {
  ...directoryStore("./x"),
  lease: { renewEveryMs: 1_000, take: async () => 1, release: async () => {} },
};

/** Options as JavaScript may give them. */
const wrong: readonly (readonly [string, unknown, string, string])[] = [
  ["no options", undefined, "options", "models and authorize"],
  [
    "a client in place of options",
    createImageClient({ provider }),
    "options.models",
    "by its name",
  ],
  ["no models", { authorize }, "options.models", "by its name"],
  ["an empty list of models", { ...good, models: {} }, "options.models", "by its name"],
  ["a client in place of its list", { ...good, models: client }, "options.models", "by its name"],
  [
    "a Map of models",
    { ...good, models: new Map([["m", client]]) },
    "options.models",
    "plain object",
  ],
  ["a list of models", { ...good, models: [client] }, "options.models", "plain object"],
  [
    "a provider as a model",
    { ...good, models: { m: provider } },
    "options.models.m",
    "createImageClient",
  ],
  [
    "a name as a model",
    { ...good, models: { m: "gpt-image-2" } },
    "options.models.m",
    "createImageClient",
  ],
  ["no authorize", { models: { m: client } }, "options.authorize", "who calls"],
  ["a key as authorize", { ...good, authorize: "key" }, "options.authorize", "who calls"],
  ["a path as store", { ...good, store: "./x" }, "options.store", 'directoryStore("./x")'],
  ["a Map as store", { ...good, store: new Map() }, "options.store", "directoryStore("],
  [
    "a store without a directory",
    { ...good, store: { ...directoryStore("./x"), directory: undefined } },
    "options.store",
    "directory",
  ],
  [
    "a shared store beside the journal of one machine",
    {
      models: { m: createImageClient({ provider, journal: directoryJournal("./x") }) },
      ...{ authorize, store: leased },
    },
    "options.models.m.journal",
    "createPostgresJournal",
  ],
  ["a number of text", { ...good, maxParts: "64" }, "options.maxParts", "number"],
  ["a pause of zero", { ...good, whitespaceEveryMs: 0 }, "options.whitespaceEveryMs", "number"],
  ["a spool that is no path", { ...good, spoolDirectory: true }, "options.spoolDirectory", "path"],
  ["an onError that is none", { ...good, onError: console }, "options.onError", "function"],
  ["an option that there is not", { ...good, sotre: 1 }, "options.sotre", "There is no"],
];

test.each(wrong)("%s is refused as the gateway is made", (_, options, field, words) => {
  // What TypeScript would not let through.
  const create = () => createImageGateway(options as ImageGatewayOptions);
  expect(create).toThrow(
    expect.objectContaining({
      ...{ code: "invalid_request", charged: "no", field },
      message: expect.stringContaining(words),
    }),
  );
});

const post = (gateway: ReturnType<typeof createImageGateway>) =>
  gateway.fetch(
    new Request("http://gateway/v1/images/generations", {
      method: "POST",
      headers: { authorization: "Bearer key-of-anna", "content-type": "application/json" },
      body: JSON.stringify({ prompt: "A web" }),
    }),
  );

test.each([
  true,
  1,
  { name: "anna" },
  ["anna"],
  { status: "401", message: "no" },
  { caller: "" },
  { caller: "anna", tags: { team: 1 } },
  { caller: "anna", tags: ["a"] },
])("an authorize that gives %j is the operator's fault, and not the caller's", async (said) => {
  const errors: unknown[] = [];
  const model = fakeImageClient();
  const gateway = createImageGateway({
    ...{ models: { m: model }, onError: (error) => errors.push(error) },
    // What TypeScript would not let through.
    authorize: (() => said) as unknown as ImageGatewayOptions["authorize"],
  });
  const response = await post(gateway);
  expect(response.status).toBe(500);
  expect(await response.json()).toMatchObject({
    error: {
      ...{ code: "gateway_misconfigured", charged: "no", type: "server_error" },
      message: expect.not.stringContaining("key"),
    },
  });
  expect(response.headers.get("x-should-retry")).toBe("false");
  expect(errors).toEqual([
    expect.objectContaining({
      message: expect.stringMatching(/`authorize`.*name of the caller/),
    }),
  ]);
  expect(model.calls).toHaveLength(0);
});

test.each([undefined, null, false, ""])(
  "an authorize that gives %j refuses its caller",
  async (said) => {
    const gateway = createImageGateway({
      ...good,
      // What TypeScript would not let through.
      authorize: (() => said) as unknown as ImageGatewayOptions["authorize"],
    });
    expect((await post(gateway)).status).toBe(401);
  },
);

test("a refusal has the status that it names, and one that is none is a 403", async () => {
  for (const [status, answered] of [
    [401, 401],
    [429, 429],
    [200, 403],
    [500, 403],
  ] as const) {
    const message = "Not you.";
    const gateway = createImageGateway({ ...good, authorize: () => ({ status, message }) });
    const response = await post(gateway);
    expect(response.status).toBe(answered);
    expect(await response.json()).toMatchObject({ error: { message, charged: "no" } });
  }
});

test("without onError what fails inside is written to stderr, once", async () => {
  const write = vi.spyOn(console, "error").mockImplementation(() => {});
  const failure = new Error("the table of keys is gone");
  const gateway = createImageGateway({
    ...good,
    authorize: () => {
      throw failure;
    },
  });
  expect((await post(gateway)).status).toBe(500);
  expect((await post(gateway)).status).toBe(500);
  expect(write.mock.calls).toEqual([["gpt-image-client/gateway:", failure]]);
});

test("with onError nothing is written, and what it throws is nobody's response", async () => {
  const write = vi.spyOn(console, "error").mockImplementation(() => {});
  let heard = 0;
  const gateway = createImageGateway({
    ...good,
    authorize: () => {
      throw new Error("the table of keys is gone");
    },
    onError: () => {
      heard += 1;
      throw new Error("no pager");
    },
  });
  expect((await post(gateway)).status).toBe(500);
  expect([heard, write.mock.calls.length]).toEqual([1, 0]);
});
