/** fal's client. Its addresses are fixed, so they are rewritten on the way out. */
import { createFalClient } from "@fal-ai/client";

const clientFor = (from, to) =>
  createFalClient({
    credentials: "key",
    requestMiddleware: async (request) => ({ ...request, url: request.url.replace(from, to) }),
  });

/** The direct call, whose response is a data URL. */
export const bytes = ({ server }) => {
  const client = clientFor("https://fal.run", `${server}/fal-run`);
  return async (prompt) => {
    const input = { prompt, image_size: "square", num_images: 1, sync_mode: true };
    const { data } = await client.run("bench/image", { input });
    const { url } = data.images[0];
    return Buffer.from(url.slice(url.indexOf(",") + 1), "base64");
  };
};

const queue = (baseURL, pollInterval) => {
  const client = clientFor("https://queue.fal.run", baseURL);
  return async (prompt, abortSignal) => {
    const options = { input: { prompt }, mode: "polling", pollInterval, abortSignal };
    const { data } = await client.subscribe("bench/image", options);
    return data.images[0].url;
  };
};

export const poll = ({ server, pollMs }) => {
  const job = queue(`${server}/fal-queue`, pollMs);
  return (prompt) => job(prompt);
};

export const wait = ({ server, pollMs }) => queue(`${server}/fal-queue-endless`, pollMs);
