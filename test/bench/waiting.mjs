/**
 * Very many jobs wait in this process of its own: what each of them holds, how late timers are, and
 * how soon one that is aborted lets go.
 */

import { monitorEventLoopDelay } from "node:perf_hooks";
import { memoryUsage } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

const { contender, server, jobs, pollMs, observedMs, aborted } = JSON.parse(process.argv[2]);
const module = await import(`./contenders/${contender}.mjs`);
const prompt = "A dew-covered web at sunrise";
const ignore = () => {};

function heapBytes() {
  // Twice: what the first finds dead may have held on to more.
  global.gc();
  global.gc();
  return memoryUsage().heapUsed;
}

const cpuMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};

const pollsSoFar = async () => (await (await fetch(`${server}/stats`)).json()).polls;

const finish = module.poll({ server, pollMs: 5 });
await Promise.all(Array.from({ length: 200 }, () => finish(prompt)));
const wait = module.wait({ server, pollMs });
const emptyBytes = heapBytes();

// Spread over one wait, so that their polls are spread as well.
const startedAt = performance.now();
const controllers = [];
const waiting = [];
while (waiting.length < jobs) {
  const due = ((performance.now() - startedAt) / pollMs) * jobs;
  while (waiting.length < Math.min(due, jobs)) {
    const controller = controllers.length < aborted ? new AbortController() : undefined;
    if (controller !== undefined) controllers.push(controller);
    waiting.push(wait(prompt, controller?.signal));
    waiting.at(-1).catch(ignore);
  }
  await sleep(5);
}
await sleep(1_000);
const heapPerJobBytes = (heapBytes() - emptyBytes) / jobs;

const pollsBefore = await pollsSoFar();
const startedCpuMs = cpuMs();
const observedFrom = performance.now();
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
await sleep(observedMs);
delay.disable();
const spentMs = performance.now() - observedFrom;
const spentCpuMs = cpuMs() - startedCpuMs;
const polls = (await pollsSoFar()) - pollsBefore;

const abortMs = await Promise.all(
  controllers.map(async (controller, index) => {
    await sleep(index * 20);
    const abortedAt = performance.now();
    controller.abort();
    return waiting[index].then(
      () => Number.POSITIVE_INFINITY,
      () => performance.now() - abortedAt,
    );
  }),
);

const { mostSockets } = await (await fetch(`${server}/stats`)).json();

const figures = {
  heapPerJobBytes,
  delayP99Ms: delay.percentile(99) / 1e6,
  abortMs: Math.max(...abortMs),
  mostSockets,
  pollsPerSecond: polls / (spentMs / 1_000),
  cpuMs: spentCpuMs / polls,
};
process.send({ figures }, () => process.exit());
