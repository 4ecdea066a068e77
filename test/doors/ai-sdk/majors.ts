import { createOpenAI } from "@ai-sdk/openai";
import * as six from "ai";
import type { SandboxAccess } from "gpt-image-client/testing";

/** A major of the AI SDK, with its own provider of OpenAI's images. */
export interface Major {
  readonly name: "ai 6" | "ai 7";
  readonly sdk: typeof six;
  /** The SDK's own image model, at an endpoint that speaks OpenAI's API. */
  ownModel(access: SandboxAccess): Parameters<typeof six.generateImage>[0]["model"];
}

const majorSix: Major = {
  name: "ai 6",
  sdk: six,
  ownModel: (access) => createOpenAI(access).image("gpt-image-2"),
};

async function majorSeven(): Promise<Major> {
  const sdk = await import("ai-7");
  const { createOpenAI: createOpenAI4 } = await import("ai-sdk-openai-4");
  const ownModel = (access: SandboxAccess) => createOpenAI4(access).image("gpt-image-2");
  // What is called here is called in the same way in both, which the type tests see to.
  return { name: "ai 7", sdk, ownModel } as unknown as Major;
}

/** Both, where Node runs both: `ai` 7 wants 22 or later. */
export const majors: readonly Major[] =
  Number.parseInt(process.versions.node, 10) >= 22 ? [majorSix, await majorSeven()] : [majorSix];

// They would go to the console.
globalThis.AI_SDK_LOG_WARNINGS = false;
