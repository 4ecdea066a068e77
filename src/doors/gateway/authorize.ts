/** What `authorize` is shown of a request: all but its body. Its members are to be read: a spread may copy none. */
export interface GatewayRequest {
  readonly method: string;
  /** Absolute; behind a proxy, as the proxy wrote it. */
  readonly url: string;
  readonly headers: Headers;
}

/** Why a request is refused. */
export interface GatewayRefusal {
  /** 400 to 499. */
  readonly status: number;
  /** For the caller to read. */
  readonly message: string;
}

/** Who calls, and for what the money is counted. */
export interface GatewayCaller {
  /** The name of the caller, which no other has. */
  readonly caller: string;
  /** Goes with each order to its client: a router's budgets and ledger are by them. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
}
