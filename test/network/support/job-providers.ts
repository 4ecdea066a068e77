import {
  aigptimage,
  createImageClient,
  type ImageClient,
  openaiCompatible,
  shortapi,
  trinetra,
} from "gpt-image-client";
import type { Sandbox, SandboxProvider } from "gpt-image-client/testing";

const makers = { shortapi, aigptimage, trinetra, openaiCompatible };

/** A client of one of the sandbox's providers, through the server that stands at an origin. */
export function jobClientAt(origin: string, name: SandboxProvider, sandbox: Sandbox): ImageClient {
  const { baseURL, apiKey } = sandbox[name];
  const { pathname } = new URL(baseURL);
  return createImageClient({
    provider: makers[name]({ baseURL: origin + pathname.replace(/\/$/, ""), apiKey }),
    poll: 100,
    timeoutMs: 15_000,
    // Its pictures come from the sandbox's own second server, past the one that is tried.
    allowPrivateNetwork: true,
  });
}
