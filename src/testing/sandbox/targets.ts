/** The four providers that the sandbox plays. */
export type SandboxProvider = "shortapi" | "aigptimage" | "trinetra" | "openaiCompatible";

/**
 * What a request is for: `create` asks for images, `poll` asks how a job stands, `download` fetches
 * an image. A provider that answers with the images has no `poll`.
 */
export type SandboxPhase = "create" | "poll" | "download";

/** Which things a fault can hit: requests that arrive, or the `webhook` that is posted at a job's end. */
export type SandboxFaultPhase = SandboxPhase | "webhook";

/** Which requests a fault hits. */
export interface SandboxFaultTarget {
  /** For a download: the provider whose image it is. */
  readonly provider: SandboxProvider;
  readonly phase: SandboxFaultPhase;
  /** How many requests (of a webhook: jobs that end) it hits. Default 1; `Infinity` for all. */
  readonly times?: number;
  /** How many matching ones, counted from the call of `inject`, pass before it. Default 0. */
  readonly after?: number;
}
