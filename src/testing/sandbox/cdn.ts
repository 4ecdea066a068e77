import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { answerInstead, deliver } from "./delivery";
import type { SandboxFault } from "./fault-types";
import type { FaultQueue } from "./faults";
import { reset, type SandboxResponse, send } from "./http";
import type { Job, Jobs } from "./jobs";
import type { Problem } from "./script";

interface Link {
  readonly job: Job;
  readonly index: number;
  readonly issuedAt: number;
  expiredAs?: number | undefined;
}

/** A bucket's form of an error. */
function storageError({ status, message }: Problem): SandboxResponse {
  const codes: Readonly<Record<number, string>> = {
    403: "AccessDenied",
    404: "NoSuchKey",
    429: "SlowDown",
  };
  return {
    status,
    headers: { "content-type": "application/xml" },
    body: `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${codes[status] ?? "Error"}</Code><Message>${message}</Message></Error>`,
  };
}

function expired(status: number): SandboxResponse {
  return storageError({ status, message: "Request has expired" });
}

/** Where the images lie, on whichever origin. */
const picturesPath = "/pictures/";

/** Whoever knows the URL of an image may have it, and no key is asked for. */
export class Cdn {
  readonly #links = new Map<string, Link>();
  readonly #imageTtlMs: number;
  /** Known once its server listens. */
  origin = "";

  constructor(imageTtlMs: number) {
    this.#imageTtlMs = imageTtlMs;
  }

  issueUrl(job: Job, index: number, expiredAs: number | undefined): string {
    const path = `${picturesPath}${randomBytes(16).toString("hex")}/${index + 1}.${job.order.format}`;
    this.#links.set(path, { job, index, issuedAt: Date.now(), expiredAs });
    return `${this.origin}${path}`;
  }

  /** Whether a path is one of an image, though it be none that there is. */
  holds(path: string): boolean {
    return path.startsWith(picturesPath);
  }

  /** What a path leads to, whether or not it has expired. */
  linkAt(path: string): Link | undefined {
    return this.#links.get(path.split("?", 1).join(""));
  }

  clear(): void {
    this.#links.clear();
  }

  async handle(
    request: IncomingMessage,
    response: ServerResponse,
    { jobs, faults, closing }: { jobs: Jobs; faults: FaultQueue; closing: AbortSignal },
  ): Promise<void> {
    const link = this.linkAt(request.url ?? "");
    if (link === undefined)
      return send(response, storageError({ status: 404, message: "No such key" }));
    if (request.method !== "GET" && request.method !== "HEAD")
      return send(response, storageError({ status: 405, message: "Method not allowed" }));
    const fault = faults.take(link.job.provider, "download");
    const instead = answerInstead(fault, storageError);
    if (instead === "reset") return reset(response);
    if (instead) return send(response, instead);
    await deliver(response, await this.#reply(link, jobs, fault), fault, closing);
  }

  async #reply(link: Link, jobs: Jobs, fault: SandboxFault | undefined): Promise<SandboxResponse> {
    if (fault?.fault === "expired") link.expiredAs = fault.status ?? 403;
    if (link.expiredAs !== undefined) return expired(link.expiredAs);
    if (Date.now() - link.issuedAt > this.#imageTtlMs) return expired(403);
    if (fault?.fault === "not-an-image")
      return {
        status: 200,
        headers: { "content-type": "text/html" },
        body: "<!doctype html><title>Sign in</title><p>Please sign in to continue.</p>",
      };
    const bytes = await jobs.picture(link.job, link.index);
    const contentType = `image/${link.job.order.format}`;
    return { status: 200, headers: { "content-type": contentType }, body: bytes };
  }
}
