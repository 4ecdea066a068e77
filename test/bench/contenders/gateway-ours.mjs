import { createServer } from "node:http";
import { createImageGateway } from "../../../dist/gateway.js";
import { createImageClient, openaiCompatible } from "../../../dist/index.js";

const callers = new Map([["Bearer caller", "caller"]]);

/** A gateway for each size: the upstream's address says what it gives. */
export async function open({ upstreamOf, directory }) {
  const urls = {};
  for (const size of ["small", "large"]) {
    const provider = openaiCompatible({ baseURL: upstreamOf(size), apiKey: "key" });
    const gateway = createImageGateway({
      models: { "gpt-image-2": createImageClient({ provider }) },
      authorize: ({ headers }) => callers.get(headers.get("authorization") ?? ""),
      spoolDirectory: directory,
    });
    const server = createServer(gateway.listener);
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    urls[size] = `http://127.0.0.1:${server.address().port}/v1/images/generations`;
  }
  const headers = { authorization: "Bearer caller" };
  return { urls, headers: { small: headers, large: headers } };
}
