import type { buildConnector, Client, Dispatcher } from "undici";
import { type Clock, systemClock } from "../async/clock";

/**
 * A create leaves on a connection that is new or has been idle for less. Servers close idle connections
 * after a second or more, and of a create that meets the close on its way it cannot be known whether it was
 * charged. The rest of that second is for the way there.
 */
const mostIdleMs = 500;

/** Both clocks: the monotonic one may stand still while a machine sleeps. */
type Time = Pick<Clock, "now" | "wallTime">;

/**
 * Connections for creates. undici's own pool gives out whichever is free, and lets go of idle ones by a
 * timer alone, which is late when the process is busy. Here the time is read when a create is given its
 * connection, and again just before it is written.
 */
export class CreateConnections implements Pick<Dispatcher, "dispatch"> {
  readonly #create: (origin: string) => Client;
  readonly #time: Time;
  /**
   * By origin. The one that has been idle for longest is the first, and taken first: all of them stay in
   * use while creates follow each other quickly, and none grows old beside the others.
   */
  readonly #idle = new Map<string, Connection[]>();

  constructor(
    HttpClient: typeof Client,
    connect: buildConnector.connector,
    time: Time = systemClock,
  ) {
    const options: Client.Options = {
      connect,
      pipelining: 1,
      // What no create asks for is closed once none may have it, however long the server would keep it.
      keepAliveTimeout: mostIdleMs,
      keepAliveMaxTimeout: mostIdleMs,
    };
    this.#create = (origin) => new HttpClient(origin, options);
    this.#time = time;
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const origin = String(options.origin);
    const connection = this.#takeIdle(origin) ?? this.#open(origin);
    connection.isAwaited = true;
    const again = () => this.dispatch(options, handler);
    return connection.client.dispatch(options, new CreateHandler(handler, connection, again));
  }

  #takeIdle(origin: string): Connection | undefined {
    const idle = this.#idle.get(origin);
    for (let next = idle?.shift(); next !== undefined; next = idle?.shift()) {
      if (!next.isStale()) return next;
      void next.client.destroy();
    }
    return undefined;
  }

  #open(origin: string): Connection {
    const client = this.#create(origin);
    const connection = new Connection(client, this.#time);
    const drop = () => {
      this.#forget(origin, connection);
      // A create that waits for it still leaves, on a new connection. undici
      // (7.30.2, onHttpSocketClose in client-h1.js) also reconnects for one that was aborted, to send nothing.
      if (!connection.isAwaited) void client.destroy();
      else if (!client.closed) void client.close();
    };
    client
      .on("connect", () => connection.connected())
      .on("disconnect", drop)
      .on("connectionError", drop)
      // Free again, as undici's pool has it: a turn of the event loop after the end of the response.
      .on("drain", () => {
        if (!client.closed && !client.destroyed) this.#keep(origin, connection);
      });
    return connection;
  }

  #keep(origin: string, connection: Connection): void {
    const idle = this.#idle.get(origin);
    if (idle === undefined) this.#idle.set(origin, [connection]);
    else idle.push(connection);
  }

  #forget(origin: string, connection: Connection): void {
    const idle = this.#idle.get(origin);
    if (idle === undefined) return;
    const at = idle.indexOf(connection);
    if (at !== -1) idle.splice(at, 1);
    if (idle.length === 0) this.#idle.delete(origin);
  }
}

/** One of undici's clients, which has one connection at most, and since when that has been idle. */
class Connection {
  readonly client: Client;
  /** A create was given to it that has not begun to leave. */
  isAwaited = false;
  readonly #time: Time;
  #usedAt: number | undefined;
  #usedAtWallTime = 0;

  constructor(client: Client, time: Time) {
    this.client = client;
    this.#time = time;
  }

  /** It is a new one. */
  connected(): void {
    this.#usedAt = undefined;
  }

  /** A response on it has ended. */
  used(): void {
    this.#usedAt = this.#time.now();
    this.#usedAtWallTime = this.#time.wallTime();
  }

  isStale(): boolean {
    if (this.#usedAt === undefined) return false;
    const idleMs = this.#time.now() - this.#usedAt;
    return Math.max(idleMs, this.#time.wallTime() - this.#usedAtWallTime) >= mostIdleMs;
  }
}

/** Hands everything on to a create, save that one which would leave too late goes elsewhere. */
class CreateHandler implements Dispatcher.DispatchHandler {
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #connection: Connection;
  readonly #goElsewhere: () => void;
  #isElsewhere = false;

  constructor(
    handler: Dispatcher.DispatchHandler,
    connection: Connection,
    goElsewhere: () => void,
  ) {
    this.#handler = handler;
    this.#connection = connection;
    this.#goElsewhere = goElsewhere;
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    this.#connection.isAwaited = false;
    if (!this.#connection.isStale()) {
      this.#handler.onRequestStart?.(controller, context);
      return;
    }
    // The process was busy since it was dispatched. undici closes the connection, and writes nothing.
    this.#isElsewhere = true;
    controller.abort(new Error("The connection was idle for too long"));
    this.#goElsewhere();
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Parameters<NonNullable<Dispatcher.DispatchHandler["onResponseStart"]>>[2],
  ): void {
    this.#handler.onResponseStart?.(controller, status, headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#handler.onResponseData?.(controller, chunk);
  }

  onResponseEnd(
    controller: Dispatcher.DispatchController,
    trailers: Parameters<NonNullable<Dispatcher.DispatchHandler["onResponseEnd"]>>[1],
  ): void {
    this.#connection.used();
    this.#handler.onResponseEnd?.(controller, trailers);
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    this.#connection.isAwaited = false;
    if (!this.#isElsewhere) this.#handler.onResponseError?.(controller, error);
  }
}
