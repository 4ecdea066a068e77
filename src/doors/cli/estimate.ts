import type { Cost, ImageRequest } from "../../index";
import { createImageClient } from "../../index";
import { exitCodes } from "./exit-codes";
import { costText } from "./money";
import { type KnownProvider, knownProviders, type ProviderFlags, providerNames } from "./providers";
import { refusalText } from "./refusal";
import { type RequestFlags, requestOf } from "./request";
import type { Shell } from "./shell";
import { tableOf } from "./table";
import { count, jsonOf } from "./text";
import { UsageError } from "./usage-error";

/** The options of `estimate`. */
export interface EstimateFlags extends RequestFlags, Pick<ProviderFlags, "provider"> {
  readonly json?: boolean | undefined;
}

type Row = { readonly provider: string } & (
  | { readonly estimate: Cost | undefined }
  | { readonly problems: readonly string[] }
);

/** `estimate`: what a request costs at list prices, at one provider or at all. Needs no key. */
export async function estimate(
  words: readonly string[],
  flags: EstimateFlags,
  shell: Shell,
): Promise<number> {
  const [prompt = "A picture", ...more] = words;
  if (more.length > 0)
    throw new UsageError("Put the prompt in quotes: there were several arguments");
  const request = requestOf(prompt, flags);
  const rows = namesFor(flags.provider).map((name) => rowOf(name, request));
  if (flags.json) await shell.print(jsonOf(rows, 2));
  else {
    const pictures = count(request.n ?? 1, "picture");
    const lines = tableOf([["provider", pictures], ...rows.map(textOf)]);
    for (const line of lines) await shell.print(line);
  }
  return rows.every((row) => "problems" in row) ? exitCodes.usage : exitCodes.allCame;
}

function namesFor(given: string | undefined): readonly KnownProvider[] {
  if (given === undefined) return providerNames;
  const found = providerNames.filter((name) => name === given);
  if (found.length > 0) return found;
  throw new UsageError(`There is no list of "${given}": there are ${providerNames.join(", ")}`);
}

function rowOf(provider: KnownProvider, request: ImageRequest): Row {
  const client = createImageClient({ provider: knownProviders[provider]() });
  const problems = client.check(request).map((problem) => refusalText(problem, request));
  return problems.length > 0
    ? { provider, problems }
    : { provider, estimate: client.estimate(request) };
}

function textOf(row: Row): readonly string[] {
  if ("problems" in row) return [row.provider, `cannot: ${row.problems.join(" ")}`];
  return [row.provider, row.estimate === undefined ? "no price is known" : costText(row.estimate)];
}
