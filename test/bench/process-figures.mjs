import { readFileSync } from "node:fs";

/**
 * The operating system's own peak of this process. `maxRSS` of a process begins at that of the process
 * which started it, on Linux: where the kernel tells the peak of this one alone, that is taken.
 */
export function peakBytes() {
  try {
    const [, kibibytes] = /VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"));
    return Number(kibibytes) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}

/** The CPU time of this process so far. */
export function cpuMs() {
  const { userCPUTime, systemCPUTime } = process.resourceUsage();
  return (userCPUTime + systemCPUTime) / 1_000;
}
