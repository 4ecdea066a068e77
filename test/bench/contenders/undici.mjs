/** undici alone, and what a program written by hand for one work would do around it: the limit. */
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { request, stream } from "undici";
import { Base64File } from "./hand-written.mjs";

const headers = { authorization: "Bearer key", "content-type": "application/json" };

const imageCall = (prompt) => ({
  ...{ method: "POST", headers },
  body: JSON.stringify({ model: "gpt-image-2", prompt, n: 1, size: "1024x1024" }),
});

export const bytes =
  ({ server, picture }) =>
  async (prompt) => {
    const url = `${server}/${picture}-base64/v1/images/generations`;
    const { body } = await request(url, imageCall(prompt));
    const { data } = JSON.parse(await body.text());
    return Buffer.from(data[0].b64_json, "base64");
  };

export const saveBase64 =
  ({ server, picture, directory }) =>
  async (prompt, index) => {
    const path = join(directory, `${index}.png`);
    const url = `${server}/${picture}-base64/v1/images/generations`;
    await stream(url, imageCall(prompt), () => new Base64File(path));
    return path;
  };

export const saveURL =
  ({ server, picture, directory }) =>
  async (prompt, index) => {
    const url = `${server}/${picture}-url/v1/images/generations`;
    const response = await request(url, imageCall(prompt));
    const { data } = JSON.parse(await response.body.text());
    const path = join(directory, `${index}.png`);
    const { body } = await request(data[0].url);
    await pipeline(body, createWriteStream(path));
    return path;
  };

export const poll =
  ({ server, pollMs }) =>
  async (prompt) => {
    const response = await request(`${server}/shortapi/api/v1/job/create`, {
      ...{ method: "POST", headers },
      body: JSON.stringify({ model: "openai/gpt-image-2/text-to-image", args: { prompt } }),
    });
    const { job_id } = JSON.parse(await response.body.text()).data;
    for (;;) {
      await sleep(pollMs);
      const url = `${server}/shortapi/api/v1/job/query?id=${job_id}`;
      const { body } = await request(url, { headers });
      const { status, result } = JSON.parse(await body.text()).data;
      if (status === 2) return result.images[0].url;
    }
  };
