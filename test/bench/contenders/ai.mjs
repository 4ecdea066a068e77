/** The AI SDK. */
import { createOpenAI } from "@ai-sdk/openai";
import { generateImage } from "ai";
import { saving } from "./saving.mjs";

export const bytes = ({ server, picture }) => {
  const baseURL = `${server}/${picture}-base64/v1`;
  const openai = createOpenAI({ apiKey: "key", baseURL });
  const model = openai.image("gpt-image-2");
  return async (prompt) => {
    const { image } = await generateImage({ model, prompt, n: 1, size: "1024x1024" });
    return image.uint8Array;
  };
};

export const saveBase64 = saving(bytes);
