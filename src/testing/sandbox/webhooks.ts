import { randomBytes, randomUUID } from "node:crypto";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { SandboxFault } from "./fault-types";
import type { FaultQueue } from "./faults";
import type { Job, Jobs } from "./jobs";
import { isHttpUrl } from "./script";
import type { SandboxProvider } from "./targets";
import type { SandboxWebhook, SandboxWebhookProvider } from "./types";

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

const patienceMs = 10_000;

/** A call before it is sent. */
interface Post {
  readonly job: Job;
  readonly url: string;
  readonly body: string;
  readonly forged: boolean;
  readonly fault: SandboxFault | undefined;
}

/** An address with one of its query parameters put in place of what stands there. */
function withParameter(url: string, name: string | undefined, value: string): string {
  if (name === undefined) return url;
  const address = new URL(url);
  address.searchParams.set(name, value);
  return address.href;
}

function parameterNames(url: string): string[] {
  return [...new URL(url).searchParams.keys()];
}

/** Calls back when jobs end. One timer for each job that has yet to be told of; none keeps the process alive. */
export class WebhookPoster {
  readonly calls: SandboxWebhook[] = [];
  readonly #jobs: Jobs;
  readonly #faults: FaultQueue;
  readonly #accountUrls = new Map<SandboxProvider, string>();
  readonly #timers = new Map<Job, NodeJS.Timeout>();
  /** Ends the calls that are on their way. */
  readonly #posting = new Set<() => void>();
  /** Jobs whose calls wait until another job's call has been answered. */
  readonly #held = new Map<SandboxProvider, (() => Promise<void>)[]>();

  constructor(jobs: Jobs, faults: FaultQueue, closing: AbortSignal) {
    this.#jobs = jobs;
    this.#faults = faults;
    const end = () => {
      this.#forgetTimers();
      for (const endPosting of this.#posting) endPosting();
    };
    closing.addEventListener("abort", end, { once: true });
  }

  setAccountUrl(provider: SandboxWebhookProvider, url: string | undefined): void {
    if (url === undefined) this.#accountUrls.delete(provider);
    else if (isHttpUrl(url)) this.#accountUrls.set(provider, url);
    else throw new TypeError(`A webhook's address must be an http(s) URL, not "${url}".`);
  }

  /** From now on the job's end will be told, at an address that is known by then. */
  expect(job: Job): void {
    const posts = job.provider === "trinetra" || job.order.callbackUrl !== undefined;
    if (posts && !this.#timers.has(job)) this.#wait(job, job.dueAt, () => this.#ended(job));
  }

  /** A job that ended before its time is told of at once. */
  hasten(job: Job): void {
    const timer = this.#timers.get(job);
    if (timer === undefined || job.dueAt > Date.now() || job.isTold) return;
    clearTimeout(timer);
    this.#ended(job);
  }

  clear(): void {
    this.#forgetTimers();
    this.#held.clear();
    this.calls.length = 0;
  }

  #forgetTimers(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  #wait(job: Job, until: number, then: () => void): void {
    const timer = setTimeout(() => {
      // A timer may fire a millisecond early.
      if (Date.now() < until) this.#wait(job, until, then);
      else then();
    }, until - Date.now());
    this.#timers.set(job, timer.unref());
  }

  #addressOf(job: Job): string | undefined {
    const url = job.order.callbackUrl ?? this.#accountUrls.get(job.provider);
    // ShortAPI's page itself sends "CALLBACK_URL": what is no address is called by nobody.
    return url !== undefined && isHttpUrl(url) ? url : undefined;
  }

  #ended(job: Job): void {
    this.#timers.delete(job);
    job.isTold = true;
    if (this.#addressOf(job) === undefined) return;
    const fault = this.#faults.take(job.provider, "webhook");
    // Whoever listens decides what a call that fails means: it is in the list, and nothing else.
    this.#tell(job, fault).catch(() => {});
  }

  async #tell(job: Job, fault: SandboxFault | undefined): Promise<void> {
    const post = () => this.#post(job, fault);
    switch (fault?.fault) {
      case "lost":
        return;
      case "late":
        this.#wait(job, Date.now() + fault.delayMs, () => {
          this.#timers.delete(job);
          post().catch(() => {});
        });
        return;
      case "out-of-order":
        this.#held.set(job.provider, [...(this.#held.get(job.provider) ?? []), post]);
        return;
      case "forged":
        await this.#send(await this.#forged(job, fault));
        break;
      case "twice":
        await post();
        break;
      default:
    }
    await post();
    const held = this.#held.get(job.provider) ?? [];
    this.#held.delete(job.provider);
    await Promise.all(held.map((each) => each()));
  }

  async #post(job: Job, fault: SandboxFault | undefined): Promise<void> {
    const url = this.#addressOf(job);
    if (url === undefined) return;
    await this.#send({ job, url, body: await this.#documentOf(job), forged: false, fault });
  }

  async #documentOf(job: Job): Promise<string> {
    const { body } = await job.order.report(this.#jobs.lookAside(job));
    return body.toString();
  }

  /** What somebody posts who knows no secret, and perhaps the address of another job. */
  async #forged(job: Job, fault: SandboxFault & { fault: "forged" }): Promise<Post> {
    const { as = "unknown-job" } = fault;
    const url = this.#addressOf(job) ?? "";
    const document = await this.#documentOf(job);
    const [first] = parameterNames(url);
    const last = parameterNames(url).at(-1);
    const post = { job, url, body: document, forged: true, fault };
    if (as === "wrong-token") {
      const length = new URL(url).searchParams.get(last ?? "")?.length ?? 0;
      const token = randomBytes(length).toString("base64url").slice(0, length);
      return { ...post, url: withParameter(url, last, token) };
    }
    const other = as === "another-job" ? this.#otherThan(job) : undefined;
    const otherUrl = other?.order.callbackUrl;
    const jobName = otherUrl && first && new URL(otherUrl).searchParams.get(first);
    const body = document.replaceAll(job.jobId, other?.jobId ?? randomUUID());
    return { ...post, body, url: withParameter(url, first, jobName ?? randomUUID()) };
  }

  /** The newest of the provider's jobs that a call will still be about. */
  #otherThan(job: Job): Job | undefined {
    return this.#jobs
      .all()
      .findLast((each) => each !== job && each.provider === job.provider && !each.isTold);
  }

  #send({ job, url, body, forged, fault }: Post): Promise<void> {
    const headers = {
      "content-type": "application/json",
      "content-length": String(Buffer.byteLength(body)),
    };
    const { provider, jobId } = job;
    const at = Date.now();
    const call: Writable<SandboxWebhook> = {
      ...{ provider, jobId, forged, url, headers, body: JSON.parse(body), at },
      ...(fault !== undefined && { fault: fault.fault }),
    };
    this.calls.push(call);
    const send = url.startsWith("https:") ? httpsRequest : httpRequest;
    // Each on a connection of its own, which no listener can have closed meanwhile.
    const request = send(url, { method: "POST", headers, agent: false });
    const end = () => request.destroy(new Error("The sandbox was closed."));
    this.#posting.add(end);
    request.on("close", () => this.#posting.delete(end));
    request.setTimeout(patienceMs, () => request.destroy(new Error("No response in time.")));
    return new Promise((resolve) => {
      request.on("response", (response) => {
        call.status = response.statusCode ?? 0;
        call.answeredAfterMs = Date.now() - at;
        response.on("error", () => {}).resume();
        resolve();
      });
      request.on("error", (error) => {
        if (call.status === undefined) call.error = error.message;
        resolve();
      });
      request.end(body);
    });
  }
}
