/** The built package. */
import { createImageClient, openaiCompatible, shortapi } from "/tmp/p/dist_old/index.js";

const images = (baseURL) =>
  createImageClient({ provider: openaiCompatible({ baseURL, apiKey: "key" }) });

export const bytes = ({ server, picture }) => {
  const client = images(`${server}/${picture}-base64/v1`);
  return async (prompt) => {
    const { image } = await client.generate({ prompt, size: "1024x1024" });
    return image.bytes();
  };
};

const saver = (baseURL, directory) => {
  const client = images(baseURL);
  return async (prompt) => {
    const request = { prompt, size: "1024x1024" };
    const { image } = await client.generate(request, { saveTo: directory });
    return image.file;
  };
};

export const saveBase64 = ({ server, picture, directory }) =>
  saver(`${server}/${picture}-base64/v1`, directory);

export const saveURL = ({ server, picture, directory }) =>
  saver(`${server}/${picture}-url/v1`, directory);

const jobs = (baseURL, pollMs) => {
  const provider = shortapi({ baseURL, apiKey: "key" });
  const client = createImageClient({ provider, poll: pollMs });
  return async (prompt, signal) => {
    const { image } = await client.generate({ prompt }, signal && { signal });
    return image.url;
  };
};

export const poll = ({ server, pollMs }) => {
  const job = jobs(`${server}/shortapi`, pollMs);
  return (prompt) => job(prompt);
};

export const wait = ({ server, pollMs }) => jobs(`${server}/shortapi-endless`, pollMs);
