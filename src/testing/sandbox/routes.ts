import { aigptimage } from "./aigptimage";
import { openaiCompatible } from "./openai-compatible";
import type { ProviderScript, Route } from "./script";
import { shortapi } from "./shortapi";
import { trinetra } from "./trinetra";

/** The providers of the sandbox. */
export const scripts = { shortapi, aigptimage, trinetra, openaiCompatible } as const;

interface Target {
  readonly script: ProviderScript;
  readonly path: string;
  readonly route: Route | undefined;
}

/** Whose endpoint a URL is, and which one. */
export function findTarget(method: string, url: string): Target | undefined {
  if (!URL.canParse(url, "http://sandbox")) return undefined;
  const { pathname, searchParams } = new URL(url, "http://sandbox");
  for (const script of Object.values(scripts)) {
    const prefix = script.prefixes.find((one) => pathname.startsWith(`${one}/`));
    if (prefix === undefined) continue;
    const path = pathname.slice(prefix.length);
    return { script, path, route: script.route(method, path, searchParams) };
  }
  return undefined;
}
