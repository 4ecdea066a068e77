import { createServer, type Server } from "node:http";
import { createImageClient, type ImageClientOptions, openaiCompatible } from "gpt-image-client";
import {
  createImageGateway,
  type ImageGateway,
  type ImageGatewayOptions,
} from "gpt-image-client/gateway";
import { type Sandbox, type SandboxOptions, startSandbox } from "gpt-image-client/testing";
import OpenAI6, { toFile as toFile6 } from "openai";
import { authorize, listen } from "./support";

/** The official client, of either major. */
export interface OpenAIMajor {
  readonly name: "openai 6" | "openai 7";
  readonly OpenAI: typeof OpenAI6;
  readonly toFile: typeof toFile6;
}

async function majorSeven(): Promise<OpenAIMajor> {
  const { default: OpenAI, toFile } = await import("openai-7");
  // What is called here is called in the same way in both.
  return { name: "openai 7", OpenAI, toFile } as unknown as OpenAIMajor;
}

const majorSix: OpenAIMajor = { name: "openai 6", OpenAI: OpenAI6, toFile: toFile6 };

/** Both, where Node runs both: `openai` 7 wants 22 or later. */
export const openaiMajors: readonly OpenAIMajor[] =
  Number.parseInt(process.versions.node, 10) >= 22 ? [majorSix, await majorSeven()] : [majorSix];

export { authorize, listen };

export interface StageOptions {
  readonly sandbox?: SandboxOptions;
  readonly client?: Omit<ImageClientOptions, "provider">;
  readonly gateway?: Partial<ImageGatewayOptions>;
}

/** A sandbox, a gateway over it on a real server, and what it was asked. */
export class GatewayStage implements AsyncDisposable {
  readonly errors: unknown[] = [];
  private constructor(
    readonly sandbox: Sandbox,
    readonly gateway: ImageGateway,
    readonly server: Server,
    readonly baseURL: string,
    errors: unknown[],
  ) {
    this.errors = errors;
  }

  static async open({ sandbox: settings, client, gateway: given }: StageOptions = {}) {
    const sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true, ...settings });
    const provider = openaiCompatible(sandbox.openaiCompatible);
    const errors: unknown[] = [];
    const gateway = createImageGateway({
      models: { "gpt-image-2": createImageClient({ provider, ...client }) },
      authorize,
      onError: (error) => errors.push(error),
      ...given,
    });
    const server = createServer(gateway.listener);
    const origin = await listen(server);
    return new GatewayStage(sandbox, gateway, server, `${origin}/v1`, errors);
  }

  /** An official client of a caller. */
  openai({ OpenAI }: OpenAIMajor, options: object = {}, caller = "anna") {
    return new OpenAI({ apiKey: `key-of-${caller}`, baseURL: this.baseURL, ...options });
  }

  /** A request by hand. */
  post(path: string, body: object, headers: Record<string, string> = {}, signal?: AbortSignal) {
    return fetch(this.baseURL + path, {
      method: "POST",
      headers: {
        authorization: "Bearer key-of-anna",
        "content-type": "application/json",
        ...headers,
      },
      body: JSON.stringify(body),
      ...(signal !== undefined && { signal }),
    });
  }

  get(path: string, caller = "anna") {
    return fetch(this.baseURL + path, { headers: { authorization: `Bearer key-of-${caller}` } });
  }

  get creates(): number {
    return this.sandbox.requests.filter(({ phase }) => phase === "create").length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await this.gateway.close({ timeoutMs: 100 });
    await this.sandbox.close();
  }
}

/** Whether bytes are a whole PNG. */
export function isPng(base64: string | undefined): boolean {
  const bytes = Buffer.from(base64 ?? "", "base64");
  return bytes.subarray(1, 4).toString() === "PNG" && bytes.includes("IEND");
}
