import type { ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type SandboxFault, startSandbox } from "gpt-image-client/testing";
import { child } from "./child";

/** Where a signal hits: what the program has just told. */
export const points = {
  "price said": /\d credits by its list|no price is known|USD by its list/,
  "create on its way": /"type":"submitting"/,
  /** Told by the provider: the create is there, and nothing was answered yet. */
  "create received": undefined,
  accepted: /"type":"submitted"/,
  running: /"state":"running"/,
  "picture on its way": /"type":"succeeded"/,
  "all told": /"type":"result"/,
} as const;

export type Point = keyof typeof points;

/** What is sent: a second SIGINT comes after 600 ms, since sooner it is the same key press. */
export const signals = ["SIGINT", "SIGINT twice", "SIGTERM", "SIGKILL"] as const;

export type SignalName = (typeof signals)[number];

export type Played = "trinetra" | "openai";

/** What a process that was hit has bought, and what was had of it in the end. */
export interface KillEnd {
  /** Creates that the provider has received. */
  readonly creates: number;
  /** What the provider has billed. */
  readonly purchases: number;
  /** Different pictures that there are once `recover` has run. */
  readonly pictures: number;
  /** The files of them. */
  readonly files: number;
  /** `null` for one that was killed. */
  readonly code: number | null;
  readonly recoverCode: number | null;
  readonly stderr: string;
}

/** Hits a `generate` with a signal, then recovers in a process of its own. */
export async function hit(
  name: Played,
  point: Point,
  signal: SignalName,
  directory: string,
): Promise<KillEnd> {
  await using sandbox = await startSandbox({ jobDurationMs: 900, plainImages: true });
  const provider = name === "openai" ? "openaiCompatible" : "trinetra";
  const late = (phase: "create" | "download"): SandboxFault => ({
    ...{ provider, phase, fault: "slow", delayMs: 800 },
  });
  const isInCreate = point === "create on its way" || point === "create received";
  if (name === "trinetra" && isInCreate) sandbox.inject(late("create"));
  if (point === "picture on its way") sandbox.inject(late("download"));
  const { baseURL, apiKey } = sandbox[name];
  const env = { [`${name.toUpperCase()}_API_KEY`]: apiKey, XDG_STATE_HOME: join(directory, "s") };
  const out = join(directory, "out");
  const argv = ["--base-url", baseURL, "--size", "1024x1024", "--quality", "low", "-o", `${out}/`];
  let isHit = false;
  let hasToldAll = false;
  const send = (running: Pick<ChildProcess, "kill">) => {
    if (isHit) return;
    isHit = true;
    const [first] = signal.split(" ");
    // Of the names above.
    const kill = () => running.kill(first as NodeJS.Signals);
    kill();
    // What has told all may be in the last steps of Node itself, where no handler is left.
    if (signal === "SIGINT twice") setTimeout(() => !hasToldAll && kill(), 600);
  };
  const isReceived = () => sandbox.requests.some(({ body }) => body !== undefined);
  let watching: NodeJS.Timeout | undefined;
  const { code, stderr } = await child(["generate", "--events", ...argv, "test"], {
    env,
    onOutput(text, running) {
      hasToldAll ||= points["all told"].test(text);
      const words: RegExp | undefined = points[point];
      if (words?.test(text)) send(running);
      if (words === undefined) watching ??= setInterval(() => isReceived() && send(running), 5);
    },
  });
  clearInterval(watching);
  const recovered = await child(["recover", "-o", `${out}/`], { env });
  const files = existsSync(out) ? readdirSync(out).filter((file) => !file.startsWith(".")) : [];
  const digests = files.map((file) =>
    createHash("sha256")
      .update(readFileSync(join(out, file)))
      .digest("hex"),
  );
  return {
    creates: sandbox.requests.filter(({ phase }) => phase === "create").length,
    purchases: sandbox.charges.length,
    pictures: new Set(digests).size,
    files: files.length,
    ...{ code, recoverCode: recovered.code, stderr },
  };
}

/** Whether a provider's orders pass a point. */
export function passes(name: Played, point: Point): boolean {
  const ofJobs: readonly Point[] = ["accepted", "running", "picture on its way"];
  return name === "trinetra" || !ofJobs.includes(point);
}
