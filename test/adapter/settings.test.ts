import { expect, test } from "vitest";
import {
  aigptimage,
  InvalidRequestError,
  openai,
  openaiCompatible,
  shortapi,
  trinetra,
} from "../../src/index";
import { createProvider, defineProvider, once } from "../../src/provider";
import { wrong } from "../promises/word-support";

const access = { baseURL: "https://g.test/v1", apiKey: "key-0123456789" };

function errorOf(make: () => unknown): InvalidRequestError {
  try {
    make();
  } catch (error) {
    if (error instanceof InvalidRequestError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

test.each(Object.entries({ aigptimage, openai, shortapi, trinetra }))(
  "%s refuses a setting that it does not have, and says which was meant",
  (name, provider) => {
    const error = errorOf(() => provider(wrong({ baseUrl: access.baseURL })));
    expect(error.message).toBe(
      `${name}: There is no \`baseUrl\`; did you mean \`baseURL\`? Nothing was charged.`,
    );
    expect(error).toMatchObject({ provider: name, field: "baseUrl", charged: "no" });
    const key = errorOf(() => provider(wrong({ apikey: "a-secret-key" })));
    expect(key.message).toContain("did you mean `apiKey`?");
    expect(JSON.stringify([key, key.given])).not.toContain("a-secret-key");
  },
);

test("a setting that resembles none is told which there are", () => {
  expect(errorOf(() => trinetra(wrong({ prices: {} }))).message).toContain(
    "There is no `prices`; there are apiKey, baseURL, headers.",
  );
  expect(errorOf(() => openai(wrong({ organization: "o" }))).message).toContain(
    "there are apiKey, baseURL, headers, model, prices.",
  );
});

test("openaiCompatible says what it does not know before what is missing", () => {
  const error = errorOf(() => openaiCompatible(wrong({ baseUrl: access.baseURL, apiKey: "k" })));
  expect(error.message).toContain("There is no `baseUrl`; did you mean `baseURL`?");
});

test("every setting that the types have is taken, and one that is undefined counts as left out", () => {
  const prices = { inputText: 1, inputImage: 1, outputImage: 1 };
  openai({ ...access, headers: {}, model: "gpt-image-2", prices: wrong(prices) });
  openaiCompatible({
    ...{ ...access, headers: {}, model: "m", name: "mine", prices: wrong(prices) },
    ...{ refusalStatuses: [503], trustCharged: true },
  });
  expect(trinetra(wrong({ ...access, proxy: undefined })).baseURL).toBe(access.baseURL);
});

test("a provider of one's own names the settings that it adds", () => {
  const { adapter } = trinetra();
  const settings = { ...access, region: "eu" };
  expect(errorOf(() => createProvider(adapter, settings)).field).toBe("region");
  expect(createProvider(adapter, settings, ["region"]).baseURL).toBe(access.baseURL);
});

test("an adapter given by a function is made for the first provider, and with `once` for no other", () => {
  let made = 0;
  const adapter = () => {
    made += 1;
    return trinetra().adapter;
  };
  const plain = defineProvider("https://p.test", adapter);
  const shared = defineProvider("https://p.test", once(adapter));
  expect(made).toBe(0);
  expect([plain(access), plain(access), made].at(-1)).toBe(2);
  expect([shared(access), shared(access), made].at(-1)).toBe(3);
});
