import type { IncomingMessage } from "node:http";
import { findTarget, scripts } from "./routes";
import type { SandboxRequest } from "./types";

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

/** A request in the log; its body and job follow once they are known. */
export type LoggedRequest = Writable<SandboxRequest>;

const keys = Object.values(scripts).map(({ apiKey }) => apiKey);

function headersOf(message: IncomingMessage): Record<string, string> {
  return Object.fromEntries(
    Object.entries(message.headers).map(([name, value]) => [name, [value ?? ""].flat().join(", ")]),
  );
}

function carriesKey(url: string, headers: Readonly<Record<string, string>>): boolean {
  if ("authorization" in headers || "x-api-key" in headers) return true;
  return [url, ...Object.values(headers)].some((text) => keys.some((key) => text.includes(key)));
}

/** The log's entry for a request whose head has just arrived. */
export function logEntry(message: IncomingMessage, server: "api" | "cdn"): LoggedRequest {
  // A server's requests always have both; the type is shared with a client's answers.
  const { method = "", url = "/" } = message;
  const headers = headersOf(message);
  const target = server === "api" ? findTarget(method, url) : undefined;
  const [provider, phase] =
    server === "cdn"
      ? (["cdn", "download"] as const)
      : ([target?.script.name ?? "unknown", target?.route?.phase ?? "unknown"] as const);
  return {
    provider,
    phase,
    method,
    path: url,
    headers,
    at: Date.now(),
    carriedKey: carriesKey(url, headers),
  };
}
