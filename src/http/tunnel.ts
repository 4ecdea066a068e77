import type { Socket } from "node:net";
import type { buildConnector } from "undici";
import { isUint8Array } from "../realm";
import { messageOf, ProxyError } from "./faults";
import type { EnvironmentProxy } from "./proxy-environment";

type Connector = buildConnector.connector;

/** How long a proxy may take to answer CONNECT; as long as undici gives a connection. */
const answerTimeoutMs = 10_000;

/** No proxy says more than this before it hands a connection over. */
const longestHead = 16_384;

/**
 * Connects through a proxy, once for each call of it. undici's own ProxyAgent hands the error of a proxy
 * that ends the connection on to a client that takes `UND_ERR_SOCKET` for a lost idle connection, and
 * connects again at once, without end (7.30: lib/dispatcher/proxy-agent.js, onError of client.js).
 *
 * @param build makes connectors, as undici does.
 */
export function createTunnelConnector(
  build: typeof buildConnector,
  proxy: EnvironmentProxy,
  timeoutMs = answerTimeoutMs,
): Connector {
  // Its own port is not used: that of each connection is.
  const toProxy = build({ port: 0 });
  const overTunnel = build({ port: 0 });
  const { protocol, hostname, port } = proxy;
  return (options, callback) => {
    const fail = (error: unknown) => callback(asProxyError(error, proxy), null);
    toProxy({ protocol, hostname, host: hostname, port }, (error, socket) => {
      if (error !== null) return fail(error);
      openTunnel(socket, options, proxy, timeoutMs, (problem) => {
        if (problem !== undefined) {
          socket.destroy();
          fail(problem);
        } else if (options.protocol === "https:") {
          overTunnel({ ...options, httpSocket: socket }, callback);
        } else callback(null, socket);
      });
    });
  };
}

/** An error without a code: undici treats some codes as a reason to try again by itself. */
function asProxyError(cause: unknown, { address }: EnvironmentProxy): ProxyError {
  if (cause instanceof ProxyError) return cause;
  const message = `The proxy ${address} cannot be reached: ${messageOf(cause)}`;
  return new ProxyError(message, { transient: true, cause });
}

/** Why a proxy does not connect. */
interface Problem {
  readonly text: string;
  /** Asking it again may go better. */
  readonly transient: boolean;
}

/** Asks a proxy to connect to an origin. It calls back at once when the socket leads there: it may not rest. */
function openTunnel(
  socket: Socket,
  { hostname, port, protocol }: buildConnector.Options,
  { address, variable, authorization }: EnvironmentProxy,
  timeoutMs: number,
  callback: (problem: ProxyError | undefined) => void,
): void {
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  const authority = `${host}:${port || (protocol === "https:" ? "443" : "80")}`;
  const lines = [`CONNECT ${authority} HTTP/1.1`, `host: ${authority}`];
  lines.push("proxy-connection: keep-alive");
  if (authorization !== undefined) lines.push(`proxy-authorization: ${authorization}`);
  let head = "";
  const end = (problem: Problem | undefined) => {
    clearTimeout(timer);
    socket.off("readable", onReadable).off("error", onError);
    socket.off("end", onEnd).off("close", onEnd);
    callback(problem && new ProxyError(`The proxy ${address} ${problem.text}`, problem));
  };
  const onReadable = () => {
    for (let piece = socket.read(); isUint8Array(piece); piece = socket.read()) {
      head += Buffer.from(piece).toString("latin1");
      const length = head.indexOf(headEnd) + headEnd.length;
      if (length >= headEnd.length) {
        const rest = head.slice(length);
        if (rest !== "") socket.unshift(Buffer.from(rest, "latin1"));
        // undici takes a socket that is gone for a lost idle one, and connects again without a pause.
        return socket.destroyed ? onEnd() : end(refusalIn(head, variable));
      }
      if (head.length > longestHead) return end(noHttp);
    }
  };
  const onError = (error: Error) =>
    end({ text: `ended the connection: ${messageOf(error)}`, transient: true });
  const onEnd = () => end({ text: "ended the connection and did not answer", transient: true });
  const timer = setTimeout(
    () => end({ text: `did not answer within ${timeoutMs} ms`, transient: true }),
    timeoutMs,
  );
  socket.on("readable", onReadable).on("error", onError).on("end", onEnd).on("close", onEnd);
  socket.write(lines.join("\r\n") + headEnd, "latin1");
}

const headEnd = "\r\n\r\n";
const noHttp: Problem = { text: "does not answer in HTTP", transient: false };

/** What a response to CONNECT refuses, if it does. */
function refusalIn(head: string, variable: string): Problem | undefined {
  const status = Number(/^HTTP\/1\.\d (\d{3})/.exec(head)?.[1] ?? Number.NaN);
  if (Number.isNaN(status)) return noHttp;
  if (status >= 200 && status < 300) return undefined;
  const hint = status === 407 ? `: it wants a user and a password, in ${variable}` : "";
  const passes = status === 408 || status === 425 || status === 429 || status >= 500;
  return { text: `answered CONNECT with ${status}${hint}`, transient: passes };
}
