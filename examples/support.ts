import type { Cost } from "gpt-image-client";
import { type SandboxAccess, type SandboxOptions, startSandbox } from "gpt-image-client/testing";

/**
 * Starts the sandbox that the examples run against, so that none needs a key or costs anything.
 *
 * `trinetra(services.trinetra)` goes to the sandbox. With TRINETRA_API_KEY in the environment
 * `services.trinetra` is undefined, and the same line means `trinetra()`: the real service.
 */
export async function startServices(options?: SandboxOptions) {
  const sandbox = await startSandbox(options);

  function sandboxUnlessKeyed(name: string, variable: string, access: SandboxAccess) {
    const isReal = Boolean(process.env[variable]);
    console.log(`${name}: ${isReal ? `the real service (${variable} is set)` : "the sandbox"}`);
    return isReal ? undefined : access;
  }

  return {
    get shortapi() {
      return sandboxUnlessKeyed("shortapi", "SHORTAPI_KEY", sandbox.shortapi);
    },
    get aigptimage() {
      return sandboxUnlessKeyed("aigptimage", "AIGPTIMAGE_API_KEY", sandbox.aigptimage);
    },
    get trinetra() {
      return sandboxUnlessKeyed("trinetra", "TRINETRA_API_KEY", sandbox.trinetra);
    },
    get openai() {
      return sandboxUnlessKeyed("openai", "OPENAI_API_KEY", sandbox.openai);
    },
    /** For the faults that only a sandbox can be told to have. */
    inject: sandbox.inject,
    [Symbol.asyncDispose]: sandbox.close,
  };
}

/**
 * Absent means that the provider did not say, which is not the same as free. A figure that is not the
 * list's is told apart from it.
 */
export function costText(cost: Cost | undefined, listed?: Cost): string {
  if (cost === undefined) return "not reported";
  const text = `${Number(cost.amount.toFixed(4))} ${cost.unit}`;
  return isOffList(cost, listed) ? `${text} reported, ${costText(listed)} listed` : text;
}

/** Whether a provider reports another figure than its price list. */
export function isOffList(cost: Cost | undefined, listed: Cost | undefined): boolean {
  if (cost?.basis !== "reported" || listed === undefined) return false;
  return cost.unit === listed.unit && cost.amount !== listed.amount;
}

/** Why two figures stand beside each other. */
export const offListNote =
  "ShortAPI's answers say 0.02 USD for every model, and its list 0.06 USD for this one: what it bills is in its console.";

/** Rows in columns as wide as they need to be. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]?.map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  console.log();
  for (const row of rows) {
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths?.[column] ?? 0))
        .join("  ")
        .trimEnd(),
    );
  }
  console.log();
}
