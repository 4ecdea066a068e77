import {
  type CallOptions,
  type Capabilities,
  type GenerateRequest,
  type ImageClient,
  type ImageResult,
  isImageError,
  SubmissionUnknownError,
} from "gpt-image-client";
import type { ImageGatewayOptions } from "gpt-image-client/gateway";
import { type FakeImageClient, fakeImageClient } from "gpt-image-client/testing";
import { Gateway } from "../../../src/doors/gateway/gateway";
import { settled, TestClock } from "./clock";
import { authorize } from "./support";

/** A client whose calls end when the test says so. */
export class HeldClient {
  readonly fake: FakeImageClient = fakeImageClient();
  readonly calls: {
    end: (error?: Error) => void;
    request: GenerateRequest;
    options?: CallOptions;
  }[] = [];

  /** What a call that ends well gives. */
  generate: ImageClient["generate"] = (request) => this.fake.generate(request);
  /** What is put in the place of the client's own. */
  members: Partial<ImageClient> = {};

  constructor(private readonly capabilities: Partial<Capabilities> = {}) {}

  /** The order of a call, where the client is one that is given a key. */
  idOf(index: number): string {
    const { idempotencyKey } = this.calls[index]?.options ?? {};
    if (idempotencyKey === undefined) throw new Error("The call has no key");
    return idempotencyKey;
  }

  get client(): ImageClient {
    const capabilities = { ...this.fake.capabilities, ...this.capabilities };
    const hold = (request: GenerateRequest, options?: CallOptions) =>
      new Promise<ImageResult>((resolve, reject) => {
        const end = (error?: Error) =>
          error === undefined ? resolve(this.generate(request)) : reject(error);
        this.calls.push({ end, request, ...(options !== undefined && { options }) });
      });
    return { ...this.fake, capabilities, generate: hold, ...this.members };
  }
}

export interface Asking {
  readonly key?: string;
  readonly caller?: string;
  readonly prompt?: string;
}

export class Stage {
  readonly clock: TestClock;
  readonly held: HeldClient;
  readonly errors: unknown[] = [];
  readonly gateway: Gateway;

  constructor(
    options: Partial<ImageGatewayOptions> = {},
    capabilities: Partial<Capabilities> = {},
    clock = new TestClock(),
    members: Partial<ImageClient> = {},
  ) {
    this.clock = clock;
    this.held = new HeldClient(capabilities);
    this.held.members = members;
    const models = { "gpt-image-2": this.held.client };
    const onError = (error: unknown) => this.errors.push(error);
    this.gateway = new Gateway({ models, authorize, onError, ...options }, this.clock);
  }

  /** Ends a call, and waits for the end of its order. */
  async end(index: number, error?: Error): Promise<void> {
    const { armed } = this.clock;
    this.held.calls[index]?.end(error);
    await settled();
    // What was free is forgotten at once, and all else when its time is over.
    if (isImageError(error) && error.charged === "no") return;
    while (this.clock.armed === armed) await settled();
  }

  /** A request, of which the caller may leave. */
  ask({ key, caller = "anna", prompt = "A web" }: Asking = {}) {
    const leaving = new AbortController();
    const response = this.gateway.fetch(
      new Request("http://gateway/v1/images/generations", {
        method: "POST",
        headers: {
          authorization: `Bearer key-of-${caller}`,
          "content-type": "application/json",
          ...(key !== undefined && { "idempotency-key": key }),
        },
        body: JSON.stringify({ prompt }),
        signal: leaving.signal,
      }),
    );
    return { response, leave: () => leaving.abort(), received: () => receivedOf(response) };
  }

  job(id: string, caller = "anna") {
    return receivedOf(this.fetchJob(id, caller));
  }

  fetchJob(id: string, caller = "anna") {
    const headers = { authorization: `Bearer key-of-${caller}` };
    const url = `http://gateway/v1/images/jobs/${id}`;
    return this.gateway.fetch(new Request(url, { headers }));
  }
}

export interface Received {
  readonly status: number;
  readonly body: {
    readonly job?: string;
    readonly data?: readonly object[];
    readonly error?: { readonly charged?: string; readonly code?: string; readonly job?: string };
    readonly status?: string;
  };
  readonly headers: Headers;
}

export async function receivedOf(response: Promise<Response>): Promise<Received> {
  const { status, headers, ...rest } = await response.then(async (each) => {
    // What the gateway says.
    const body = (await each.json()) as Received["body"];
    return { status: each.status, headers: each.headers, body };
  });
  return { status, headers, ...rest };
}

export const started = async (stage: Stage, count: number) => {
  while (stage.held.calls.length < count) await settled();
  await settled();
  return stage.held.calls.length;
};

export const unknown = () => new SubmissionUnknownError({ charged: "unknown" });
