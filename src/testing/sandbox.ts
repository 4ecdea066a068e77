import { setMaxListeners } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { checkNames } from "./names";
import { type ApiContext, handleApi } from "./sandbox/api";
import { Cdn } from "./sandbox/cdn";
import { FaultQueue } from "./sandbox/faults";
import { jsonResponse, largestBodyBytes, send } from "./sandbox/http";
import { Jobs } from "./sandbox/jobs";
import { type LoggedRequest, logEntry } from "./sandbox/request-log";
import { scripts } from "./sandbox/routes";
import type { ProviderScript } from "./sandbox/script";
import type { Sandbox, SandboxAccess, SandboxOptions, SandboxProvider } from "./sandbox/types";
import { WebhookPoster } from "./sandbox/webhooks";

export type {
  Sandbox,
  SandboxAccess,
  SandboxCharge,
  SandboxFault,
  SandboxFaultKind,
  SandboxFaultPhase,
  SandboxFaultTarget,
  SandboxForgery,
  SandboxJob,
  SandboxJobState,
  SandboxOpenAIAnswers,
  SandboxOptions,
  SandboxPart,
  SandboxPhase,
  SandboxProvider,
  SandboxRequest,
  SandboxWebhook,
  SandboxWebhookProvider,
} from "./sandbox/types";

/** The user's own fetch, whatever a test puts in its place later. */
const fetchInput = globalThis.fetch;
const inputTimeoutMs = 2_000;

/** An edit's input from somewhere else; undefined when it does not come in time. */
async function fetchPicture(url: string, closing: AbortSignal): Promise<Buffer | undefined> {
  try {
    const signal = AbortSignal.any([closing, AbortSignal.timeout(inputTimeoutMs)]);
    const response = await fetchInput(url, { signal });
    if (!response.ok || Number(response.headers.get("content-length")) > largestBodyBytes)
      return undefined;
    return Buffer.from(await response.arrayBuffer());
  } catch {
    return undefined;
  }
}

async function listen(server: Server, port: number): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  // An IP server that listens has an address with a port; the other types are for pipes.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function shut(server: Server): Promise<void> {
  await new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
}

type Handler = (message: IncomingMessage, response: ServerResponse) => Promise<void>;

/** A server that no request can bring down. */
function serve(handle: Handler): Server {
  const server = createServer((message, response) => {
    const ignore = () => undefined;
    message.on("error", ignore);
    response.on("error", ignore);
    handle(message, response).catch((error: unknown) => {
      if (response.headersSent || response.destroyed) return response.destroy();
      send(response, jsonResponse(500, { message: `The sandbox itself failed: ${String(error)}` }));
      return undefined;
    });
  });
  // Longer than a test pauses, so that no request meets a connection that is just being closed.
  server.keepAliveTimeout = 60_000;
  return server;
}

const optionNames: Readonly<Record<keyof SandboxOptions, true>> = {
  ...{ port: true, separateCdn: true, jobDurationMs: true, queueDurationMs: true },
  ...{ imageTtlMs: true, missingAfterCreateMs: true, plainImages: true, openaiAnswers: true },
};

/** One for each provider function: without its own, `openai(sandbox.openai)` would be OpenAI itself. */
function accessesAt(url: string): Readonly<Record<SandboxProvider | "openai", SandboxAccess>> {
  const accessTo = ({ prefixes, apiKey }: ProviderScript): SandboxAccess => ({
    ...{ baseURL: `${url}${prefixes[0]}`, apiKey },
  });
  const { shortapi, aigptimage, trinetra, openaiCompatible } = scripts;
  return {
    shortapi: accessTo(shortapi),
    aigptimage: accessTo(aigptimage),
    trinetra: accessTo(trinetra),
    openai: accessTo(openaiCompatible),
    openaiCompatible: accessTo(openaiCompatible),
  };
}

/**
 * Starts four providers on 127.0.0.1, and where their images lie, which speak what the providers' own pages say. Jobs
 * take real time; nothing is ever billed to anybody.
 * @throws the system's error when the port is taken, and a TypeError for an option that there is not.
 */
export async function startSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  checkNames(options, Object.keys(optionNames));
  const { jobDurationMs = 300, queueDurationMs = jobDurationMs / 3 } = options;
  const ending = new AbortController();
  const closing = ending.signal;
  // Each response that waits listens to it: from the eleventh on Node would warn of a leak.
  setMaxListeners(0, closing);
  const requests: LoggedRequest[] = [];
  const faults = new FaultQueue();
  const cdn = new Cdn(options.imageTtlMs ?? Number.POSITIVE_INFINITY);

  const readInput = async (input: string | Buffer): Promise<Buffer | undefined> => {
    if (typeof input !== "string") return input;
    // Our own images are taken from the shelf: a request of ours has no place in the log.
    const own = input.startsWith(`${cdn.origin}/`) && cdn.linkAt(new URL(input).pathname);
    return own ? jobs.picture(own.job, own.index) : fetchPicture(input, closing);
  };
  const jobs: Jobs = new Jobs({
    times: { jobDurationMs, queueDurationMs },
    plainImages: options.plainImages ?? false,
    readInput,
    issueUrl: (job, index, expiredAs) => cdn.issueUrl(job, index, expiredAs),
  });
  const webhooks = new WebhookPoster(jobs, faults, closing);
  const context: ApiContext = {
    jobs,
    faults,
    webhooks,
    closing,
    missingAfterCreateMs: options.missingAfterCreateMs ?? 0,
    settings: { openaiAnswers: options.openaiAnswers ?? "b64_json" },
  };

  const answerPicture: Handler = async (message, response) => {
    const logged = logEntry(message, "cdn");
    const link = cdn.linkAt(logged.path);
    if (link) logged.jobId = link.job.jobId;
    requests.push(logged);
    message.resume();
    await cdn.handle(message, response, context);
  };
  const api = serve(async (message, response) => {
    const isPicture = images === undefined && cdn.holds(message.url ?? "");
    if (isPicture) return answerPicture(message, response);
    const logged = logEntry(message, "api");
    requests.push(logged);
    await handleApi(message, response, logged, context);
  });
  const images = options.separateCdn === true ? serve(answerPicture) : undefined;

  const url = await listen(api, options.port ?? 0);
  cdn.origin = images === undefined ? url : await listen(images, 0);

  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => {
    ending.abort();
    closed ??= Promise.all([shut(api), images && shut(images)]).then(() => undefined);
    return closed;
  };

  return {
    url,
    cdnUrl: cdn.origin,
    ...accessesAt(url),
    requests,
    get charges() {
      jobs.settleAll();
      return jobs.charges;
    },
    get jobs() {
      return jobs
        .all()
        .map((job) => ({ provider: job.provider, jobId: job.jobId, state: jobs.stateOf(job) }));
    },
    webhooks: webhooks.calls,
    setWebhook: (provider, address) => webhooks.setAccountUrl(provider, address),
    inject: (fault) => faults.add(fault),
    reset() {
      requests.length = 0;
      faults.clear();
      jobs.clear();
      webhooks.clear();
      cdn.clear();
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
