/** Replicate's client. */
import Replicate from "replicate";

/** A prediction that is waited for, whose response is a data URL. */
export const bytes = ({ server }) => {
  const client = new Replicate({ auth: "key", baseUrl: `${server}/replicate/v1` });
  return async (prompt) => {
    const output = await client.run("bench/image", { input: { prompt }, wait: { mode: "block" } });
    return new Uint8Array(await (await output.blob()).arrayBuffer());
  };
};

export const poll = ({ server, pollMs }) => {
  const baseUrl = `${server}/replicate/v1`;
  const client = new Replicate({ auth: "key", baseUrl, useFileOutput: false });
  const wait = { mode: "poll", interval: pollMs };
  return (prompt) => client.run("bench/image", { input: { prompt }, wait });
};
