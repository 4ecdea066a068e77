import { setMaxListeners } from "node:events";
import { checkNames } from "./names";
import { type ApiContext, handleApi } from "./sandbox/api";
import { Cdn } from "./sandbox/cdn";
import { FaultQueue } from "./sandbox/faults";
import { largestBodyBytes } from "./sandbox/http";
import { Jobs } from "./sandbox/jobs";
import { type LoggedRequest, logEntry } from "./sandbox/request-log";
import { scripts } from "./sandbox/routes";
import type { ProviderScript } from "./sandbox/script";
import { type Handler, startServers } from "./sandbox/servers";
import type { SandboxProvider } from "./sandbox/targets";
import type { Sandbox, SandboxAccess, SandboxOptions } from "./sandbox/types";
import { WebhookPoster } from "./sandbox/webhooks";

export type { SandboxFault, SandboxFaultKind, SandboxForgery } from "./sandbox/fault-types";
export type {
  SandboxFaultPhase,
  SandboxFaultTarget,
  SandboxPhase,
  SandboxProvider,
} from "./sandbox/targets";
export type {
  Sandbox,
  SandboxAccess,
  SandboxCharge,
  SandboxJob,
  SandboxJobState,
  SandboxOpenAIAnswers,
  SandboxOptions,
  SandboxPart,
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

/** What the providers know and do: the jobs that they took, what shall go wrong, and whom they tell. */
function providersOf(options: SandboxOptions, cdn: Cdn, closing: AbortSignal): ApiContext {
  const { jobDurationMs = 300, queueDurationMs = jobDurationMs / 3 } = options;
  const faults = new FaultQueue();

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
  return {
    jobs,
    faults,
    webhooks: new WebhookPoster(jobs, faults, closing),
    closing,
    missingAfterCreateMs: options.missingAfterCreateMs ?? 0,
    settings: { openaiAnswers: options.openaiAnswers ?? "b64_json" },
  };
}

/** Log a request and answer it. */
function handlersOf(requests: LoggedRequest[], cdn: Cdn, context: ApiContext) {
  const answerPicture: Handler = async (message, response) => {
    const logged = logEntry(message, "cdn");
    const link = cdn.linkAt(logged.path);
    if (link) logged.jobId = link.job.jobId;
    requests.push(logged);
    message.resume();
    await cdn.handle(message, response, context);
  };
  const answerApi: Handler = async (message, response) => {
    const logged = logEntry(message, "api");
    requests.push(logged);
    await handleApi(message, response, logged, context);
  };
  const answerBoth: Handler = async (message, response) => {
    const answer = cdn.holds(message.url ?? "") ? answerPicture : answerApi;
    await answer(message, response);
  };
  return { answerPicture, answerApi, answerBoth };
}

/**
 * Starts four providers on 127.0.0.1, and where their images lie, which speak what the providers' own pages say. Jobs
 * take real time; nothing is ever billed to anybody.
 * @throws the system's error when the port is taken, and a TypeError for an option that there is not.
 */
export async function startSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  checkNames(options, Object.keys(optionNames));
  const { port = 0, separateCdn = false, imageTtlMs = Number.POSITIVE_INFINITY } = options;
  const ending = new AbortController();
  // Each response that waits listens to it: from the eleventh on Node would warn of a leak.
  setMaxListeners(0, ending.signal);
  const requests: LoggedRequest[] = [];
  const cdn = new Cdn(imageTtlMs);
  const providers = providersOf(options, cdn, ending.signal);
  const { jobs, faults, webhooks } = providers;
  const { answerApi, answerPicture, answerBoth } = handlersOf(requests, cdn, providers);
  const servers = await (separateCdn
    ? startServers(port, answerApi, answerPicture)
    : startServers(port, answerBoth));
  cdn.origin = servers.cdnUrl;

  const close = (): Promise<void> => {
    ending.abort();
    return servers.close();
  };

  return {
    url: servers.url,
    cdnUrl: servers.cdnUrl,
    ...accessesAt(servers.url),
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
