import {
  aigptimage,
  type ImageClientOptions,
  type ImageError,
  openai,
  openaiCompatible,
  shortapi,
  trinetra,
} from "../../src/index";
import { onePixelPng, stubbed } from "../providers/fixtures";

export const apiKey = "key-0123456789";
export const settled = { data: [{ b64_json: onePixelPng.toString("base64") }] };

export async function errorOf(work: () => unknown): Promise<ImageError> {
  try {
    await work();
  } catch (error) {
    // The caller names its class.
    return error as ImageError;
  }
  throw new Error("nothing was thrown");
}

/** A client whose endpoint takes everything. */
export function clientOf(options: Partial<ImageClientOptions> = {}) {
  return stubbed(openai({ apiKey }), () => Response.json(settled), options);
}

// What JavaScript callers may do.
export const wrong = (value: unknown) => value as never;

// ---- no message is silly ----

export const everyProvider = {
  shortapi: shortapi({ apiKey }),
  aigptimage: aigptimage({ apiKey }),
  trinetra: trinetra({ apiKey }),
  openai: openai({ apiKey }),
  compatible: openaiCompatible({ baseURL: "https://g.test/v1", apiKey }),
};
