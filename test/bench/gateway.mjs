/**
 * One gateway, in this process of its own, asked by a driver in another: what it takes for a generation
 * beside what the upstream and the driver take. Tells its parent one figure: its CPU or its memory.
 */
import { fork } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { cpuMs, peakBytes } from "./process-figures.mjs";

const { contender, server, directory, picture, atOnce, count, warmUp, figure } = JSON.parse(
  process.argv[2],
);

const upstreamOf = (size) => `${server}/${size}-base64/v1`;

const { open } = await import(`./contenders/gateway-${contender}.mjs`);
const target = await open({ upstreamOf, directory });
const driver = fork(fileURLToPath(new URL("gateway-driver.mjs", import.meta.url)), {
  execArgv: [],
});
const ask = (order) =>
  new Promise((resolve, reject) => {
    driver.once("message", (message) =>
      message.error === undefined ? resolve(message) : reject(new Error(message.error)),
    );
    driver.send({ ...target, ...order });
  });

await ask({ picture: "small", atOnce, count: warmUp });
// For the memory alone: a forced collection throws away code that V8 has optimised, and shrinks its young
// generation to its initial size. After one, small orders took ours twice the CPU (Node 20.20, five rounds).
if (figure === "memory") {
  await sleep(1_000);
  global.gc();
}
const idleBytes = process.memoryUsage().rss;
const startedCpuMs = cpuMs();
const { hashes, results } = await ask({ picture, atOnce, count });
const figures =
  figure === "memory"
    ? { peakAboveIdleBytes: peakBytes() - idleBytes }
    : { cpuMs: (cpuMs() - startedCpuMs) / count };
driver.disconnect();
process.send({ figures, hashes, results }, () => process.exit());
