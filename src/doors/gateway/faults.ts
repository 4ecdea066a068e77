import { jsonReply, type Reply } from "./exchange";

/** What is wrong with a request, found before anything was ordered. */
export class GatewayFault extends Error {
  readonly status: number;
  readonly code: string;
  readonly param: string | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: string,
    message: string,
    { param, headers = {} }: { param?: string; headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.param = param;
    this.headers = headers;
  }
}

/** A fault as a reply: whatever it is, nothing was charged. */
export function replyOf({ status, code, message, param, headers }: GatewayFault): Reply {
  const error = { message, type: typeOf(status), code, param: param ?? null, charged: "no" };
  // Whatever does not say when to come back would be the same again.
  const repeating = "retry-after" in headers ? {} : { "x-should-retry": "false" };
  return jsonReply(status, { error }, { ...repeating, ...headers });
}

/** OpenAI's word for a class of errors. */
export function typeOf(status: number): string {
  return types[status] ?? (status < 500 ? "invalid_request_error" : "server_error");
}

const types: Readonly<Record<number, string>> = {
  401: "authentication_error",
  402: "insufficient_quota",
  403: "permission_error",
  424: "provider_error",
  429: "rate_limit_error",
};

/** A field that is wrong. */
export function wrongField(param: string, message: string): GatewayFault {
  return new GatewayFault(400, "invalid_value", message, { param });
}
