import type { IncomingHttpHeaders } from "node:http";
import * as z from "zod/mini";
import type { Body, SandboxResponse } from "./http";
import type { Failure, Order } from "./jobs";
import type { SandboxProvider } from "./targets";
import type { SandboxOpenAIAnswers } from "./types";

/** A refusal, before a provider puts it into its own words. */
export interface Problem {
  readonly status: number;
  readonly message: string;
  readonly code?: string | number;
  /** The field of the body that is at fault. */
  readonly field?: string;
  /** What is wrong with the field, when it is one that the page does not list. */
  readonly isUnknownField?: boolean;
  /** SandboxResponse with HTTP 200 and say no in the body. */
  readonly envelope?: boolean;
  /** When to come again, told in the body. */
  readonly retryAfterSeconds?: number;
}

/** Thrown while a create is read; its provider words the response. */
export class Refusal extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

/** A request to a provider, its body read. */
export interface ApiRequest {
  /** Below the provider's prefix, without the query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Body;
}

export type Route =
  | { readonly phase: "create" }
  | {
      readonly phase: "poll";
      readonly jobId: string;
      /** The response when there is no such job; `isYoung`: it was created only just now. */
      absent(isYoung: boolean): SandboxResponse;
    };

/** One provider as its page describes it. The server does the rest. */
export interface ProviderScript {
  readonly name: SandboxProvider;
  /** Where its base URL lies on the sandbox's server; the longest that fits wins. */
  readonly prefixes: readonly [string, ...string[]];
  readonly apiKey: string;
  /** The key that a request carries, in this provider's own header. */
  keyIn(headers: IncomingHttpHeaders): string | undefined;
  route(method: string, path: string, query: URLSearchParams): Route | undefined;
  newJobId(): string;
  /** Checks a create as the page demands. @throws Refusal */
  read(request: ApiRequest, settings: ScriptSettings): Order;
  refuse(problem: Problem): SandboxResponse;
  unauthorized(): SandboxResponse;
}

export interface ScriptSettings {
  readonly openaiAnswers: SandboxOpenAIAnswers;
}

export function bearerKey({ authorization }: IncomingHttpHeaders): string | undefined {
  return /^Bearer (.+)$/i.exec(authorization ?? "")?.[1];
}

/** The JSON of a body that has to be JSON. */
export function jsonOf({ body }: ApiRequest): unknown {
  if (body.kind === "json") return body.value;
  if (body.kind === "none")
    throw new Refusal({ status: 400, message: "The request body is empty." });
  if (body.kind === "unreadable" && body.mediaType === "application/json")
    throw new Refusal({ status: 400, message: "The request body is not valid JSON." });
  throw new Refusal({ status: 415, message: "Content-Type must be application/json." });
}

/** The input as the schema reads it, or a refusal with `status` that names the first wrong field. */
export function check<Schema extends z.core.$ZodType>(
  schema: Schema,
  input: unknown,
  status: number,
): z.output<Schema> {
  const parsed = z.safeParse(schema, input, { error: wordsOf });
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = (issue?.path ?? []).map(String);
  if (issue?.code === "unrecognized_keys") {
    const field = [...path, issue.keys[0]].join(".");
    throw new Refusal({
      status,
      field,
      isUnknownField: true,
      message: `Unknown parameter: '${field}'.`,
    });
  }
  const field = path.join(".");
  const message = `${field === "" ? "The body" : `'${field}'`}: ${issue?.message ?? "invalid"}`;
  throw new Refusal({ status, message, ...(field !== "" && { field }) });
}

/** What is wrong, as an API would say it. zod's own words would be a part of every import of this package. */
function wordsOf(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined ? "is required" : `must be of type ${issue.expected}`;
    case "invalid_value":
      return `must be ${issue.values.map((each) => JSON.stringify(each)).join(" or ")}`;
    case "too_small":
      return `must be at least ${issue.minimum}`;
    case "too_big":
      return `must be at most ${issue.maximum}`;
    default:
      return "is invalid";
  }
}

/** Whether the text is an http(s) URL. */
export function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

const loopbackHosts: ReadonlySet<string> = new Set(["127.0.0.1", "localhost", "[::1]"]);

/** Whether the text is an https URL; http is let through to this machine, where tests keep their files. */
export function isPublicUrl(text: string): boolean {
  if (!isHttpUrl(text)) return false;
  const { protocol, hostname } = new URL(text);
  return protocol === "https:" || loopbackHosts.has(hostname);
}

/** What a failed job says when its fault does not say it. */
export function messageOf(failure: Failure | undefined, moderated: string): string {
  if (failure?.moderated) return moderated;
  return failure?.message ?? "The image could not be generated.";
}
