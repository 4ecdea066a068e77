import { measureSize } from "./size";
import type { Expected, Figures, Stage } from "./stage";

/** A figure that is shown, and how. */
export interface Column {
  readonly key: string;
  readonly label: string;
  readonly unit: "ms" | "MB" | "KB" | "bytes" | "×" | "";
}

/** What must be reached: a figure of ours, or its ratio to somebody's in the same round. */
export interface Target {
  readonly key: string;
  readonly by?: string;
  readonly limit: number;
}

/** One row of what is promised: the same work for every contender. */
export interface Workload {
  readonly name: string;
  readonly title: string;
  /** How it is measured, in a sentence or two. */
  readonly method: string;
  readonly contenders: readonly string[];
  readonly columns: readonly Column[];
  readonly targets: readonly Target[];
  /** How many times as many rounds, where a round is cheap and noisy; or just one. */
  readonly rounds?: (rounds: number) => number;
  measure(contender: string, stage: Stage): Promise<Figures>;
}

const megabyte = 1_000_000;
const kilobyte = 1_000;
/** As many as polls may share to one origin, and the creates of the warm-up, which leave at once. */
const poolConnections = 128 + 200;

const cpu: Column = { key: "cpuMs", label: "CPU", unit: "ms" };
const peak: Column = { key: "peakAboveIdleBytes", label: "peak above idle", unit: "MB" };

const small = {
  work: "bytes",
  picture: "small",
  atOnce: 16,
  count: 10_000,
  warmUp: 10_000,
} as const;
const large = { picture: "large", atOnce: 8, warmUp: 300 } as const;
const saving = { ...large, count: 64 } as const;
const holding = { ...large, work: "bytes", count: 8 } as const;
const polling = { work: "poll", pollMs: 50, atOnce: 64, count: 256, warmUp: 256 } as const;
const waiting = { jobs: 10_000, pollMs: 10_000, observedMs: 10_000, aborted: 50 };

const creates = ({ count, warmUp }: { count: number; warmUp: number }) => count + warmUp;

type Settings = { readonly work: string; readonly count: number; readonly warmUp: number };

/** Runs a work in the worker; every create must have been seen, and every result have its bytes. */
const runs =
  (settings: Settings, expected: Expected): Workload["measure"] =>
  (contender, stage) =>
    stage.run(
      "worker.mjs",
      { contender, ...settings },
      { creates: creates(settings), ...expected },
    );

/**
 * The same after a run that is not counted. Memory that a virtual machine has not used for some seconds
 * costs half as much again to write to, and whoever came after a slow contender paid for that.
 */
const runsWarm =
  (settings: Settings, expected: Expected): Workload["measure"] =>
  async (contender, stage) => {
    await stage.run("worker.mjs", { contender: "undici", ...settings });
    return runs(settings, expected)(contender, stage);
  };

interface GatewaySettings extends Omit<Settings, "work"> {
  readonly picture: string;
  readonly atOnce: number;
}

/** The same in front of a gateway, which is what is measured: its CPU, and in another process its memory. */
const runsGateway =
  (settings: GatewaySettings, hash: "small" | "large"): Workload["measure"] =>
  async (contender, stage) => {
    const expected = { hash, creates: creates(settings) };
    const cpuTold = { contender, ...settings, figure: "cpu" };
    const memoryTold = { contender, ...settings, figure: "memory" };
    return {
      ...(await stage.run("gateway.mjs", cpuTold, expected)),
      ...(await stage.run("gateway.mjs", memoryTold, expected)),
    };
  };

export const workloads: readonly Workload[] = [
  {
    name: "small-sync",
    title: "One small synchronous generation, 16 at once",
    method:
      "10,000 images of 4 kB as base64, after as many that warm the process up. fal's direct call and Replicate's blocking one give a data URL.",
    contenders: ["ours", "undici", "openai", "ai", "fal", "replicate"],
    columns: [cpu, peak],
    targets: [
      { key: "cpuMs", by: "undici", limit: 1.6 },
      { key: "cpuMs", by: "openai", limit: 0.4 },
      { key: "cpuMs", by: "ai", limit: 0.45 },
    ],
    measure: runs(small, { hash: "small" }),
  },
  {
    name: "large-base64-save",
    title: "A 12 MB image as base64 in 16 MB of JSON, 8 at once, saved to a directory",
    method:
      "64 images, after 300 small ones and a run of undici that is not counted. undici: a stream written by hand from the socket through a base64 decoder to the file. Who has no way to save writes the bytes with writeFile.",
    contenders: ["ours", "undici", "openai", "ai"],
    columns: [cpu, peak],
    targets: [
      { key: "cpuMs", by: "undici", limit: 1.15 },
      { key: "cpuMs", by: "openai", limit: 0.5 },
      { key: "peakAboveIdleBytes", limit: 60 * megabyte },
    ],
    measure: runsWarm({ work: "saveBase64", ...saving }, { hash: "large" }),
  },
  {
    name: "large-base64-memory",
    title: "The same, bytes in memory",
    method:
      "8 images, all of them held, after 300 small ones. Held: peak above idle, by 8 times the decoded size.",
    contenders: ["ours", "undici", "openai", "ai"],
    columns: [cpu, peak, { key: "heldPerImage", label: "held of each", unit: "×" }],
    targets: [
      { key: "cpuMs", by: "openai", limit: 0.7 },
      { key: "heldPerImage", limit: 2.2 },
    ],
    measure: async (contender, stage) => {
      const figures = await runs(holding, { hash: "large" })(contender, stage);
      const { peakAboveIdleBytes = Number.NaN } = figures;
      return { ...figures, heldPerImage: peakAboveIdleBytes / holding.count / (12 * megabyte) };
    },
  },
  {
    name: "url-save",
    title: "A 12 MB image by URL, 8 at once, saved to a directory",
    method:
      "64 images, after 300 small ones and a run of undici that is not counted. undici: request, then pipeline to a file.",
    contenders: ["ours", "undici"],
    columns: [cpu, peak],
    targets: [
      { key: "cpuMs", by: "undici", limit: 1.1 },
      { key: "peakAboveIdleBytes", limit: 30 * megabyte },
    ],
    measure: runsWarm({ work: "saveURL", ...saving }, { hash: "large" }),
  },
  {
    name: "polling",
    title: "Create, 20 polls, result; 64 jobs at once",
    method:
      "256 jobs polled every 50 ms, after as many that warm the process up; CPU is a job's. fal asks for the result in a request of its own, as its protocol has it; nobody downloads the picture.",
    contenders: ["ours", "undici", "fal", "replicate"],
    columns: [cpu, peak],
    targets: [{ key: "cpuMs", by: "fal", limit: 0.6 }],
    measure: runs(polling, { hash: "address", polls: 20 * creates(polling) }),
  },
  {
    name: "waiting",
    title: "10,000 jobs waiting in one process, 1,000 polls a second",
    method:
      "Every job is polled every 10 s, their starts spread over 10 s; observed for 10 s. Heap after a forced collection. The delay is that of a timer of 1 ms, its own 1 ms included. 50 jobs are aborted, 20 ms apart: the slowest counts. Sockets: the most that the server ever saw.",
    contenders: ["ours", "fal"],
    columns: [
      { key: "heapPerJobBytes", label: "heap a job", unit: "KB" },
      { key: "delayP99Ms", label: "delay p99", unit: "ms" },
      { key: "abortMs", label: "abort", unit: "ms" },
      { key: "mostSockets", label: "sockets", unit: "" },
      { key: "pollsPerSecond", label: "polls a second", unit: "" },
      { key: "cpuMs", label: "CPU a poll", unit: "ms" },
    ],
    targets: [
      { key: "heapPerJobBytes", limit: 6 * kilobyte },
      { key: "delayP99Ms", limit: 25 },
      { key: "abortMs", limit: 20 },
      { key: "mostSockets", limit: poolConnections },
    ],
    measure: (contender, stage) => stage.run("waiting.mjs", { contender, ...waiting }),
  },
  {
    name: "gateway-small",
    title: "A small generation through a gateway, 16 at once",
    method:
      "4,000 images of 4 kB as base64, after as many that warm the process up. CPU is the gateway's own process; the upstream and the driver have theirs. The memory is that of another process, above what is in use after a forced collection.",
    contenders: ["ours", "portkey"],
    columns: [cpu, peak],
    targets: [{ key: "cpuMs", by: "portkey", limit: 0.3 }],
    measure: runsGateway({ picture: "small", atOnce: 16, count: 4_000, warmUp: 4_000 }, "small"),
  },
  {
    name: "gateway-large",
    title: "A 12 MB generation through a gateway, 8 at once",
    method:
      "32 images as base64 in 16 MB of JSON, after 300 small ones. The memory is that of another process.",
    contenders: ["ours", "portkey"],
    columns: [cpu, peak],
    targets: [
      { key: "cpuMs", by: "portkey", limit: 0.4 },
      { key: "peakAboveIdleBytes", limit: 60 * megabyte },
    ],
    measure: runsGateway({ ...large, count: 32 }, "large"),
  },
  {
    name: "import",
    title: "import() in a fresh process",
    method:
      "Three times as many rounds. Node's own start, until the first line of the script, is shown and not subtracted: the import is timed by itself. ai is imported with @ai-sdk/openai.",
    contenders: ["ours", "undici", "openai", "ai", "fal", "replicate"],
    columns: [
      { key: "importMs", label: "time", unit: "ms" },
      { key: "importCpuMs", label: "CPU", unit: "ms" },
      { key: "nodeStartMs", label: "Node's start", unit: "ms" },
      { key: "nodeStartCpuMs", label: "its CPU", unit: "ms" },
    ],
    targets: [
      { key: "importMs", by: "openai", limit: 0.32 },
      { key: "importCpuMs", by: "openai", limit: 0.32 },
    ],
    rounds: (rounds) => 3 * rounds,
    measure: (contender, stage) => stage.run("import.mjs", { contender }),
  },
  {
    name: "start",
    title: "From a script's first line to its first small image",
    method:
      "In a fresh process, import included, as a command line or a function in the cloud does it. Five times as many rounds. What Node takes to start is not in it.",
    contenders: ["ours", "undici", "openai", "ai"],
    columns: [
      { key: "startMs", label: "time", unit: "ms" },
      { key: "startCpuMs", label: "CPU", unit: "ms" },
    ],
    targets: [
      { key: "startMs", by: "openai", limit: 0.8 },
      { key: "startCpuMs", by: "openai", limit: 0.75 },
    ],
    rounds: (rounds) => 5 * rounds,
    measure: (contender, stage) =>
      stage.run("start.mjs", { contender }, { creates: 1, hash: "small" }),
  },
  {
    name: "size",
    title: "Our own code, minified and gzipped",
    method:
      "What is statically imported by an app that imports createImageClient alone, without dependencies; chunks that are imported on demand stand apart. As shipped: from dist, with whatever dependency is bundled in it. Strangers: other providers in an app that imports one, the worst of four.",
    contenders: ["ours"],
    columns: [
      { key: "coreBytes", label: "core", unit: "KB" },
      { key: "lazyBytes", label: "on demand", unit: "KB" },
      { key: "shippedBytes", label: "core as shipped", unit: "KB" },
      { key: "shippedLazyBytes", label: "on demand as shipped", unit: "KB" },
      { key: "strangers", label: "strangers", unit: "" },
    ],
    targets: [
      { key: "coreBytes", limit: 16 * kilobyte },
      { key: "strangers", limit: 0 },
    ],
    rounds: () => 1,
    measure: measureSize,
  },
];
