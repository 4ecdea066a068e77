import { createServer } from "node:http";

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** @portkey-ai/gateway as its binary starts it, with its default settings, headless. */
export async function open({ upstreamOf }) {
  const port = await freePort();
  // It reads its arguments as it is loaded, refuses private hosts unless they are named, and says hello.
  process.argv.push(`--port=${port}`, "--headless");
  process.env.TRUSTED_CUSTOM_HOSTS = "localhost,127.0.0.1";
  console.log = () => {};
  await import("@portkey-ai/gateway/build/start-server.js");
  const url = `http://127.0.0.1:${port}/v1/images/generations`;
  const headersOf = (size) => ({
    authorization: "Bearer key",
    "x-portkey-provider": "openai",
    "x-portkey-custom-host": upstreamOf(size),
  });
  return {
    urls: { small: url, large: url },
    headers: { small: headersOf("small"), large: headersOf("large") },
  };
}
