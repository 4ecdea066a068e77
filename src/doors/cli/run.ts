import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { argumentProblem } from "./arguments";
import { exitCodes } from "./exit-codes";
import { helpOf, overview } from "./help";
import { type CommandName, optionsOf } from "./options";
import type { Platform } from "./platform";
import { Shell } from "./shell";
import { UsageError } from "./usage-error";

/**
 * Runs one command. Help loads nothing but its words: whoever asks for it is not made to wait for the
 * client.
 */
export async function run(argv: readonly string[], platform: Platform): Promise<number> {
  const shell = new Shell(platform);
  try {
    return await runCommand(argv, shell);
  } catch (error) {
    shell.complain(error instanceof Error ? error.message : String(error));
    // Whatever has been sent ends in a code of its own: here nothing was.
    return error instanceof UsageError ? exitCodes.usage : exitCodes.nothingCharged;
  }
}

async function runCommand([name, ...rest]: readonly string[], shell: Shell): Promise<number> {
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    const [about] = rest;
    await shell.print(about !== undefined && isCommand(about) ? helpOf(about) : overview);
    return name === undefined ? exitCodes.usage : exitCodes.allCame;
  }
  if (name === "--version" || name === "-v") {
    const { version } = JSON.parse(await readFile(shell.platform.manifest, "utf8"));
    await shell.print(String(version));
    return 0;
  }
  if (!isCommand(name)) {
    const known = Object.keys(optionsOf).join(", ");
    throw new UsageError(`There is no command "${name}": there are ${known}`);
  }
  if (rest.includes("--help") || rest.includes("-h")) {
    await shell.print(helpOf(name));
    return 0;
  }
  return commands[name](rest, shell);
}

function isCommand(name: string): name is CommandName {
  return Object.hasOwn(optionsOf, name);
}

/** Reads the options of a command; what it does not know is an error of the user's. */
function parsed<Name extends CommandName>(name: Name, args: readonly string[]) {
  const options: (typeof optionsOf)[Name] = optionsOf[name];
  const problem = argumentProblem(args, options);
  if (problem !== undefined) {
    throw new UsageError(`${problem} (gpt-image-client ${name} --help)`);
  }
  const { values, positionals } = parseArgs({
    ...{ args: [...args], options, strict: true, allowPositionals: true },
  });
  return { values, positionals };
}

/** What was given beside the options, to a command that takes nothing. */
function refuseWords(words: readonly string[]): void {
  if (words.length > 0) throw new UsageError(`Unexpected argument "${words[0]}"`);
}

const commands: Readonly<
  Record<CommandName, (args: readonly string[], shell: Shell) => Promise<number>>
> = {
  async generate(args, shell) {
    const { values, positionals } = parsed("generate", args);
    return (await import("./generate")).order("generate", positionals, values, shell);
  },
  async edit(args, shell) {
    const { values, positionals } = parsed("edit", args);
    return (await import("./generate")).order("edit", positionals, values, shell);
  },
  async estimate(args, shell) {
    const { values, positionals } = parsed("estimate", args);
    return (await import("./estimate")).estimate(positionals, values, shell);
  },
  async providers(args, shell) {
    const { values, positionals } = parsed("providers", args);
    refuseWords(positionals);
    return (await import("./matrix")).providers(values, shell);
  },
  async jobs(args, shell) {
    const { values, positionals } = parsed("jobs", args);
    refuseWords(positionals);
    return (await import("./jobs")).jobs(values, shell);
  },
  async resume(args, shell) {
    const { values, positionals } = parsed("resume", args);
    return (await import("./resume")).resume(positionals, values, shell);
  },
  async recover(args, shell) {
    const { values, positionals } = parsed("recover", args);
    refuseWords(positionals);
    return (await import("./recover")).recover(values, shell);
  },
  async costs(args, shell) {
    const { values, positionals } = parsed("costs", args);
    return (await import("./costs")).costs(positionals, values, shell);
  },
  async batch(args, shell) {
    const { values, positionals } = parsed("batch", args);
    return (await import("./batch")).batch(positionals, values, shell);
  },
  async serve(args, shell) {
    const { values, positionals } = parsed("serve", args);
    refuseWords(positionals);
    return (await import("./serve")).serve(values, shell);
  },
  async sandbox(args, shell) {
    const { values, positionals } = parsed("sandbox", args);
    refuseWords(positionals);
    return (await import("./sandbox")).sandbox(values, shell);
  },
};
