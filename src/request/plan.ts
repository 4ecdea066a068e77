import type { BoundOperation, BoundTask } from "../adapter/contract";
import { translateDimensions } from "../adapter/dimensions";
import type { Provider } from "../adapter/provider";
import { type Cost, totalCost } from "../cost";
import { InvalidRequestError, UnsupportedError } from "../errors";
import { nearestTo } from "../parse/nearest";
import { shown } from "../parse/shown";
import type { ImageError } from "../types";
import type { Operation } from "../types/reference";
import { inputProblems, type Upload } from "./inputs";
import { type NamesAt, problemsOf } from "./problems";
import { type ParsedRequest, parseRequest } from "./request";

/** A request that the provider can serve, ready to be sent. */
export interface Plan {
  readonly request: ParsedRequest;
  readonly description: BoundOperation;
  readonly task: BoundTask;
  /** The provider's own entry of `providerOptions`. */
  readonly options: unknown;
  /** How many images each task asks for. */
  readonly split: readonly number[];
  readonly warnings: readonly string[];
}

/** How a client plans. */
export interface PlanOptions {
  readonly provider: Provider;
  readonly onUnsupported: "error" | "omit";
  readonly upload?: Upload | undefined;
}

const dimensionFields = ["size", "aspectRatio", "resolution"] as const;

/** Checks a request against what the provider takes, and translates it; nothing is sent. */
export function planRequest(
  operation: Operation,
  value: unknown,
  options: PlanOptions,
): { readonly plan: Plan } | { readonly problems: readonly ImageError[] } {
  const parsed = parseRequest(operation, value);
  if ("problems" in parsed) {
    // What else is wrong is seen without the fields that are.
    const rest = withoutFields(value, parsed.problems);
    const others = rest === undefined ? undefined : planRequest(operation, rest, options);
    const more = others !== undefined && "problems" in others ? others.problems : [];
    return { problems: [...parsed.problems, ...more] };
  }
  const { request } = parsed;
  const { provider } = options;
  const description = provider.adapter.operations[operation];
  if (description === undefined) {
    const given = shown("images", request.images);
    return {
      problems: [unsupported(provider, "images", given, "no images, since it cannot edit")],
    };
  }
  const found = translate(request, description, provider);
  const omits = options.onUnsupported === "omit";
  const { inputs: rule } = description;
  const inputIssues =
    rule === undefined
      ? []
      : inputProblems(request.images, request.mask, {
          provider: provider.name,
          rule,
          upload: options.upload,
          trustedOrigin: new URL(provider.baseURL).origin,
        });
  const isMask = (problem: ImageError) =>
    problem instanceof UnsupportedError && problem.field === "mask";
  const bound = bind(request.providerOptions, found.parameters, description, provider, omits);
  const stray = strayOptions(request.providerOptions, provider);
  const unserved = [...found.problems, ...bound.unserved, ...stray, ...inputIssues.filter(isMask)];
  const fatal = [...bound.invalid, ...inputIssues.filter((problem) => !isMask(problem))];
  const problems = omits ? fatal : [...unserved, ...fatal];
  if (problems.length > 0 || bound.task === undefined) return { problems };
  return {
    plan: {
      request: unserved.some(isMask) ? withoutMask(request) : request,
      description,
      task: bound.task,
      options: ownOptions(request.providerOptions, provider).options,
      split: splitCount(request.n, mostInTask(request, description)),
      warnings: [...found.warnings, ...unserved.map(leftOut)],
    },
  };
}

function withoutMask({ mask, ...request }: ParsedRequest): ParsedRequest {
  return request;
}

/** A request without the fields at fault; `undefined` where nothing would be left to look at. */
function withoutFields(value: unknown, problems: readonly ImageError[]): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  const names = problems.flatMap((problem) =>
    problem instanceof InvalidRequestError ? (/^\w+/.exec(problem.field ?? "")?.[0] ?? []) : [],
  );
  const kept = Object.entries(value).filter(([name]) => !names.includes(name));
  const isSmaller = kept.length < Object.keys(value).length;
  if (!isSmaller || names.includes("images")) return undefined;
  // A prompt is always wanted, and the wrong one has been named.
  return { ...(names.includes("prompt") && { prompt: "-" }), ...Object.fromEntries(kept) };
}

/** What a plan costs by the list, where that is known. */
export function priceOf({ task, split }: Plan): Cost | undefined {
  return totalCost(split.map((n) => task.price(n)));
}

/** How many images a task may ask for: one stream shows one. */
function mostInTask({ fields }: ParsedRequest, description: BoundOperation): number {
  const isStreamed = fields.stream ?? fields.partialImages;
  return isStreamed && description.fields.includes("stream") ? 1 : description.maxImagesPerTask;
}

function splitCount(n: number, most: number): number[] {
  const split: number[] = [];
  for (let left = n; left > 0; left -= most) split.push(Math.min(most, left));
  return split;
}

interface Translation {
  /** Portable fields with the provider's own dimensions. */
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly warnings: readonly string[];
  readonly problems: readonly UnsupportedError[];
}

function translate(
  { fields }: ParsedRequest,
  { fields: taken, dimensions: rule }: BoundOperation,
  provider: Provider,
): Translation {
  const parameters: Record<string, unknown> = {};
  const problems: UnsupportedError[] = [];
  const dimensions: Partial<Record<(typeof dimensionFields)[number], string>> = {};
  const isDimension = (name: string) => dimensionFields.find((each) => each === name);
  for (const [name, value] of Object.entries(fields)) {
    const dimension = isDimension(name);
    if (dimension !== undefined && rule !== undefined) dimensions[dimension] = String(value);
    else if (taken.includes(name)) parameters[name] = value;
    else problems.push(unsupported(provider, name, shown(name, value), `no \`${name}\``));
  }
  if (rule === undefined) return { parameters, problems, warnings: [] };
  const translated = translateDimensions(dimensions, rule);
  return {
    parameters: Object.assign(parameters, translated.dimensions),
    warnings: translated.warnings,
    problems: [
      ...problems,
      ...translated.problems.map((problem) =>
        unsupported(provider, problem.field, shown(problem.field, problem.given), problem.taken),
      ),
    ],
  };
}

/** The entry that is this provider's: under its own name, or under that of the API it speaks. */
function ownOptions(
  given: ParsedRequest["providerOptions"],
  { name, adapter }: Provider,
): { readonly name: string; readonly options: unknown } {
  const known = [name, adapter.optionsName ?? name];
  const found = known.find((each) => Object.hasOwn(given, each) && given[each] !== undefined);
  if (found === undefined) return { name: adapter.optionsName ?? name, options: undefined };
  return { name: found, options: given[found] };
}

const builtIn = ["shortapi", "aigptimage", "trinetra", "openai", "openai-compatible"];

/** Entries that no built-in provider reads: misspelt, or for a custom provider. */
function strayOptions(
  given: ParsedRequest["providerOptions"],
  provider: Provider,
): UnsupportedError[] {
  const { name, adapter } = provider;
  const names = Object.keys(given);
  if (names.length === 0) return [];
  const known = [...new Set([...builtIn, name, adapter.optionsName ?? name])];
  const stray = names.filter((each) => !known.includes(each));
  return stray.map((each) => {
    const field = `providerOptions.${each.length > 60 ? `${each.slice(0, 60)}…` : each}`;
    const nearest = nearestTo(each, known);
    const taken = nearest === undefined ? known.join(", ") : `\`${nearest}\`, if that was meant`;
    return unsupported(provider, field, shown(field, given[each]), taken);
  });
}

interface Bound {
  readonly task?: BoundTask;
  /** A word that the provider does not have. */
  readonly unserved: readonly UnsupportedError[];
  /** A value that is wrong whoever the provider is. */
  readonly invalid: readonly ImageError[];
}

function bind(
  providerOptions: ParsedRequest["providerOptions"],
  parameters: Readonly<Record<string, unknown>>,
  description: BoundOperation,
  provider: Provider,
  omits: boolean,
): Bound {
  const { name, options } = ownOptions(providerOptions, provider);
  const bound = description.bind(parameters, options);
  if (!("parameterIssues" in bound)) return { task: bound, unserved: [], invalid: [] };
  const unserved: UnsupportedError[] = [];
  const namesAt: NamesAt = (path) => (path.length === 0 ? description.optionNames : []);
  const invalid: ImageError[] = bound.optionIssues.flatMap((issue) =>
    problemsOf(issue, options, ["providerOptions", name], namesAt),
  );
  for (const issue of bound.parameterIssues) {
    const field = String(issue.path[0]);
    if (issue.code === "invalid_value") {
      const words = issue.values.map(String).join(", ");
      unserved.push(unsupported(provider, field, shown(field, parameters[field]), words));
    } else invalid.push(...problemsOf(issue, parameters));
  }
  if (!omits || invalid.length > 0) return { unserved, invalid };
  const names = new Set(unserved.map((problem) => problem.field));
  const rest = Object.fromEntries(Object.entries(parameters).filter(([each]) => !names.has(each)));
  const again = bind(providerOptions, rest, description, provider, false);
  return { ...again, unserved };
}

function unsupported(
  provider: Provider,
  field: string,
  given: string,
  taken: string,
): UnsupportedError {
  return new UnsupportedError({ provider: provider.name, charged: "no", field, given, taken });
}

function leftOut(problem: ImageError): string {
  if (!(problem instanceof UnsupportedError)) return problem.message;
  return `\`${problem.field}\` ${problem.given} was left out: ${problem.provider} takes ${problem.taken}`;
}
