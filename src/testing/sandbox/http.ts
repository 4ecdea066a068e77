import type { IncomingMessage, ServerResponse } from "node:http";
import { type Part, parseMultipart } from "./multipart";

/** A response before it is sent. */
export interface SandboxResponse {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

/** A request's body, told apart by what it is rather than by what it claims. */
export type Body =
  | { readonly kind: "none" }
  | { readonly kind: "json"; readonly value: unknown }
  | { readonly kind: "multipart"; readonly parts: readonly Part[] }
  | { readonly kind: "unreadable"; readonly mediaType: string; readonly text: string }
  | { readonly kind: "other"; readonly mediaType: string; readonly text: string };

export const largestBodyBytes = 64 * 1024 * 1024;

export function jsonResponse(
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): SandboxResponse {
  return {
    status,
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(value),
  };
}

/** What stands in a proxy's response when the server behind it is gone. */
export function proxyPage(
  status: number,
  headers: Readonly<Record<string, string>> = {},
): SandboxResponse {
  const title = `${status} ${status === 502 ? "Bad Gateway" : "Service Unavailable"}`;
  return {
    status,
    headers: { "content-type": "text/html", ...headers },
    body: `<html><head><title>${title}</title></head><body><center><h1>${title}</h1></center></body></html>`,
  };
}

/** The whole body; undefined when it is larger than the sandbox takes. Rejects when torn. */
export async function readBytes(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let byteLength = 0;
  return new Promise((resolve, reject) => {
    request.on("data", (chunk: Buffer) => {
      byteLength += chunk.byteLength;
      if (byteLength <= largestBodyBytes) {
        chunks.push(chunk);
        return;
      }
      // The rest is read and dropped: a client that still writes could not hear the response.
      chunks.length = 0;
      resolve(undefined);
    });
    request.on("end", () => resolve(Buffer.concat(chunks)));
    request.on("error", reject);
    request.on("close", () => reject(new Error("The request ended before its body did.")));
  });
}

export function mediaTypeOf(contentType: string | undefined): string {
  return (contentType ?? "").split(";", 1).join("").trim().toLowerCase();
}

export function parseBody(bytes: Buffer, contentType: string | undefined): Body {
  const mediaType = mediaTypeOf(contentType);
  if (bytes.byteLength === 0) return { kind: "none" };
  if (mediaType === "multipart/form-data") {
    const parts = parseMultipart(bytes, contentType ?? "");
    if (parts !== undefined) return { kind: "multipart", parts };
    return { kind: "unreadable", mediaType, text: `${bytes.byteLength} bytes` };
  }
  const text = bytes.toString("utf8");
  if (mediaType !== "application/json") return { kind: "other", mediaType, text };
  try {
    return { kind: "json", value: JSON.parse(text) };
  } catch {
    return { kind: "unreadable", mediaType, text };
  }
}

export function send(response: ServerResponse, reply: SandboxResponse): void {
  const body = typeof reply.body === "string" ? Buffer.from(reply.body) : reply.body;
  response.writeHead(reply.status, { ...reply.headers, "content-length": body.byteLength });
  response.end(response.req.method === "HEAD" ? undefined : body);
}

/** Ends the connection with an RST, as a crashed server or a lost route does. */
export function reset(response: ServerResponse): void {
  response.socket?.resetAndDestroy();
}

/** Promises the whole response, and ends the connection halfway through it. */
export function sendTruncated(response: ServerResponse, reply: SandboxResponse): void {
  const body = Buffer.from(reply.body);
  response.writeHead(reply.status, { ...reply.headers, "content-length": body.byteLength + 1 });
  response.write(body.subarray(0, Math.ceil(body.byteLength / 2)), () =>
    response.socket?.destroy(),
  );
}

/** Sends the head and the first `byteLength` bytes, then falls silent. */
export function sendBeginning(
  response: ServerResponse,
  reply: SandboxResponse,
  byteLength: number,
): void {
  const body = Buffer.from(reply.body);
  response.writeHead(reply.status, { ...reply.headers, "content-length": body.byteLength });
  response.flushHeaders();
  if (byteLength > 0) response.write(body.subarray(0, Math.min(byteLength, body.byteLength - 1)));
}

/** The text of an event, whose type stands before it and in it. */
export function eventText(type: string, data: object): string {
  return `event: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** Sends the response and then padding, `total` bytes in all, as fast as the client reads. */
export function sendPadded(response: ServerResponse, reply: SandboxResponse, total: number): void {
  const body = Buffer.from(reply.body).subarray(0, total);
  // Spaces keep a JSON body readable, so that only its size is wrong with it.
  const padding = Buffer.alloc(64 * 1024, " ");
  let left = total - body.byteLength;
  response.writeHead(reply.status, reply.headers);
  response.write(body);
  const pump = () => {
    while (left > 0) {
      if (response.destroyed) return;
      const chunk = padding.subarray(0, Math.min(left, padding.byteLength));
      left -= chunk.byteLength;
      if (!response.write(chunk)) {
        response.once("drain", pump);
        return;
      }
    }
    response.end();
  };
  pump();
}
