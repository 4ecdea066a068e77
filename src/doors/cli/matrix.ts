import { createImageClient, type OperationCapabilities } from "../../index";
import { exitCodes } from "./exit-codes";
import { keyVariableOf, knownProviders, providerNames, providersWithKeys } from "./providers";
import { optionOf } from "./refusal";
import type { Shell } from "./shell";
import { tableOf } from "./table";
import { jsonOf } from "./text";

/** `providers`: what each can do, as its adapter says. */
export async function providers(
  flags: { readonly json?: boolean | undefined },
  shell: Shell,
): Promise<number> {
  const keyed = providersWithKeys(shell.platform.env);
  const all = providerNames.map((name) => {
    const client = createImageClient({ provider: knownProviders[name]() });
    const { capabilities, baseURL } = client;
    const keyVariable = keyVariableOf(name);
    return { name, baseURL, keyVariable, hasKey: keyed.includes(name), capabilities };
  });
  if (flags.json) {
    await shell.print(jsonOf(all, 2));
    return exitCodes.allCame;
  }
  const fields = [...new Set(all.flatMap(({ capabilities }) => capabilities.generate.fields))];
  const columns = shell.stdoutColumns;
  const rows = [
    ["", ...providerNames],
    ...(columns === undefined ? [["key", ...all.map(({ keyVariable }) => keyVariable)]] : []),
    ["key is set", ...all.map(({ hasKey }) => yes(hasKey))],
    ["resume a running job", ...all.map(({ capabilities }) => yes(capabilities.resumable))],
    ["honours a key of ours", ...all.map(({ capabilities }) => yes(capabilities.idempotent))],
    ["pictures a request", ...all.map(({ capabilities }) => most(capabilities.generate))],
    ["input pictures", ...all.map(({ capabilities }) => inputsOf(capabilities.edit))],
    ...fields
      .filter((field) => field !== "prompt")
      .map((field) => [
        optionOf(field),
        ...all.map(({ capabilities }) => yes(capabilities.generate.fields.includes(field))),
      ]),
  ];
  for (const line of tableOf(rows, columns)) await shell.print(line);
  if (columns === undefined) return exitCodes.allCame;
  // Beside each other they are wider than most terminals.
  const keys = all.map(({ name, keyVariable }) => [name, `key in ${keyVariable}`]);
  for (const line of ["", ...tableOf(keys, columns)]) await shell.print(line);
  return exitCodes.allCame;
}

const yes = (is: boolean) => (is ? "yes" : "-");

function most({ maxImagesPerTask }: OperationCapabilities): string {
  return Number.isFinite(maxImagesPerTask) ? String(maxImagesPerTask) : "any";
}

function inputsOf(edit: OperationCapabilities | undefined): string {
  if (edit?.inputs === undefined) return "-";
  const { maxCount, as, httpsOnly } = edit.inputs;
  return `${maxCount}, as ${as === "bytes" ? "files" : httpsOnly ? "https URLs" : "URLs"}`;
}
