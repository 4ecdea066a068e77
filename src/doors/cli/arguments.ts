import { type ParseArgsConfig, parseArgs } from "node:util";

type Options = NonNullable<ParseArgsConfig["options"]>;

/** What is wrong with the options of a command, in a sentence: those of `parseArgs` speak of its own. */
export function argumentProblem(args: readonly string[], options: Options): string | undefined {
  const { tokens } = parseArgs({
    ...{ args: [...args], options, strict: false, allowPositionals: true, tokens: true },
  });
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    const { name, rawName, value, inlineValue } = token;
    const known = Object.hasOwn(options, name) ? options[name] : undefined;
    if (known === undefined) {
      return `There is no option ${rawName}. A prompt that begins with "-" goes after "--"`;
    }
    if (known.type === "boolean") {
      if (value !== undefined) return `${rawName} takes no value, and was given "${value}"`;
    } else if (value === undefined) return `${rawName} takes a value`;
    else if (!inlineValue && /^-./.test(value)) {
      return `${rawName} takes a value, and "${value}" looks like an option: write --${name}=${value}`;
    }
  }
  return undefined;
}
