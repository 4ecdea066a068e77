import { UsageError } from "./usage-error";

const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Reads `"90s"`, `"10m"`, `"1.5h"` or `"500ms"`, in milliseconds. */
export function parseDurationMs(option: string, text: string): number {
  const [, digits = "", unit = ""] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text.trim()) ?? [];
  const milliseconds = Number(digits) * (units[unit] ?? 0);
  if (milliseconds > 0) return milliseconds;
  throw new UsageError(`${option} takes a time such as 90s, 10m or 1h, and was given "${text}"`);
}

/** `4 s`, `1 min 20 s`, `2 h 5 min`, `3 d`. */
export function durationText(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return joined(minutes, "min", seconds % 60, "s");
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return joined(hours, "h", minutes % 60, "min");
  return `${Math.floor(hours / 24)} d`;
}

function joined(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}
