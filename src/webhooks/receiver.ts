import { createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { PassThrough, Readable } from "node:stream";
import type { WebhookDescription } from "../adapter/contract";
import { parseJson } from "../http/parse-json";
import type { WebhookTarget } from "../job/registry";

/** The receiving end of webhooks. */
export interface Webhooks {
  /**
   * A fetch-standard handler. What is posted is a hint: the provider is asked through its
   * authenticated query, and the response settles whoever waits. It always answers 204 at once, so
   * that nobody learns which jobs exist; a call that is forged, repeated, unknown, malformed or
   * too large changes nothing.
   *
   * @example
   * ```ts
   * export const POST = (request: Request) => client.webhooks.handle(request);
   * ```
   */
  handle(request: Request): Promise<Response>;
  /** The same for `node:http`. */
  listener(request: IncomingMessage, response: ServerResponse): void;
}

const largestBodyBytes = 1024 * 1024;

/** Reads calls and says what they are about; what follows is the client's. */
export class WebhookReceiver implements Webhooks {
  readonly #description: WebhookDescription;
  readonly #secret: string;
  readonly #notice: (target: WebhookTarget) => void;

  constructor(
    description: WebhookDescription,
    secret: string,
    notice: (target: WebhookTarget) => void,
  ) {
    this.#description = description;
    this.#secret = secret;
    this.#notice = notice;
    this.handle = this.handle.bind(this);
    this.listener = this.listener.bind(this);
  }

  async handle(request: Request): Promise<Response> {
    try {
      const target = request.method === "POST" ? await this.#targetOf(request) : undefined;
      if (target !== undefined) this.#notice(target);
    } catch {
      // Cut short, or not JSON: an unreadable webhook is ignored.
    }
    return new Response(null, { status: 204 });
  }

  listener(incoming: IncomingMessage, response: ServerResponse): void {
    const end = () => {
      response.writeHead(204).end();
      // What was not read is let through: a sender that still writes could not hear the response.
      incoming.unpipe().resume();
    };
    // Anybody may send a method or a path that `Request` and `URL` refuse.
    this.#receive(incoming).then(end, end);
  }

  async #receive(incoming: IncomingMessage): Promise<void> {
    const { method, url = "/" } = incoming;
    if (method !== "POST") return;
    const headers = Object.entries(incoming.headersDistinct).flatMap(([name, values]) =>
      (values ?? []).map((value): [string, string] => [name, value]),
    );
    const address = new URL(url, "http://webhook.invalid");
    // Between the two, so that a body which is not read to its end does not end the connection.
    const body = new PassThrough();
    body.on("error", () => {});
    incoming.on("error", (error) => body.destroy(error));
    const init = { method, headers, body: Readable.toWeb(incoming.pipe(body)), duplex: "half" };
    // Node's two declarations of a web stream differ in name alone.
    await this.handle(new Request(address, init as RequestInit));
  }

  /** The address to give a provider for one task. */
  addressFor(url: string, jobId: string, index: number): string {
    const address = new URL(url);
    address.searchParams.set("job", `${jobId}.${index}`);
    address.searchParams.set("token", this.#token(`${jobId}.${index}`));
    return address.href;
  }

  async #targetOf(request: Request): Promise<WebhookTarget | undefined> {
    const { address, read, signature } = this.#description;
    if (address === "request") return this.#targetOfAddress(new URL(request.url).searchParams);
    const text = await limitedText(request);
    if (text === undefined) return undefined;
    const body = parseJson(text);
    const headers = Object.fromEntries(request.headers);
    if (signature !== undefined && !this.#isSigned(signature({ body, headers, text }))) {
      return undefined;
    }
    const taskId = read(body);
    return taskId === undefined ? undefined : { taskId };
  }

  /** The token says which job it is about: the body is not even read. */
  #targetOfAddress(parameters: URLSearchParams): WebhookTarget | undefined {
    const job = parameters.get("job") ?? "";
    const match = /^([\w-]+)\.(\d+)$/.exec(job);
    const [, jobId, index] = match ?? [];
    if (jobId === undefined || !isSame(parameters.get("token") ?? "", this.#token(job))) {
      return undefined;
    }
    return { jobId, index: Number(index) };
  }

  #isSigned(signed: { content: string; signature: string } | undefined): boolean {
    if (signed === undefined) return false;
    const mac = createHmac("sha256", this.#secret).update(signed.content);
    return isSame(signed.signature, mac.digest("base64"));
  }

  #token(job: string): string {
    return createHmac("sha256", this.#secret).update(`gpt-image-client:${job}`).digest("base64url");
  }
}

/** Compared in a time that tells nothing of where they differ. */
function isSame(given: string, expected: string): boolean {
  const digest = (text: string) => createHmac("sha256", "compare").update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

async function limitedText({ headers, body }: Request): Promise<string | undefined> {
  if (body === null || Number(headers.get("content-length")) > largestBodyBytes) return undefined;
  const chunks: Uint8Array[] = [];
  let length = 0;
  // Not by `for await`, which cancels the rest: a server may tear the connection for that.
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return Buffer.concat(chunks).toString("utf8");
    length += value.byteLength;
    if (length > largestBodyBytes) return undefined;
    chunks.push(value);
  }
}
