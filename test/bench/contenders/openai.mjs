/** OpenAI's own client. */
import OpenAI from "openai";
import { saving } from "./saving.mjs";

export const bytes = ({ server, picture }) => {
  const client = new OpenAI({ apiKey: "key", baseURL: `${server}/${picture}-base64/v1` });
  return async (prompt) => {
    const request = { model: "gpt-image-2", prompt, n: 1, size: "1024x1024" };
    const { data } = await client.images.generate(request);
    return Buffer.from(data[0].b64_json, "base64");
  };
};

export const saveBase64 = saving(bytes);
