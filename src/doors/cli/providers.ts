import { createHmac } from "node:crypto";
import {
  aigptimage,
  type ImageRequest,
  type JobReference,
  openai,
  openaiCompatible,
  type Provider,
  type ProviderSettings,
  shortapi,
  trinetra,
} from "../../index";
import type { Platform } from "./platform";
import { UsageError } from "./usage-error";

type Env = Platform["env"];

/** The providers that have an address and a variable for their key of their own. */
export const knownProviders = { shortapi, aigptimage, trinetra, openai } as const;

export type KnownProvider = keyof typeof knownProviders;

/** Their names. */
// The keys of an object of ours.
export const providerNames = Object.keys(knownProviders) as readonly KnownProvider[];

/** A stranger's URL never gets OPENAI_API_KEY. */
const compatibleVariable = "OPENAI_COMPATIBLE_API_KEY";

/** What tokens cost at the sandbox's OpenAI: its prices are known at OpenAI itself alone. */
const sandboxPrices = { textInput: 5, imageInput: 8, imageOutput: 30 };

/** How a provider is chosen on the command line. */
export interface ProviderFlags {
  readonly provider?: string | undefined;
  readonly "base-url"?: string | undefined;
  readonly model?: string | undefined;
}

/** A provider, and what the ledger calls it. */
export interface ChosenProvider {
  readonly provider: Provider;
  readonly label: string;
  /**
   * Tells its address and its key from others, without saying them; absent for the sandbox, where nothing
   * is bought.
   */
  readonly account?: string;
  /** What the request takes along, such as a model. */
  readonly providerOptions?: ImageRequest["providerOptions"];
  /** Of the sandbox: ends it. */
  end(): Promise<void>;
}

const names = [...providerNames, "openai-compatible", "sandbox"];

function isKnown(name: string): name is KnownProvider {
  return Object.hasOwn(knownProviders, name);
}

/** The variable of the environment that holds a provider's key. */
export function keyVariableOf(name: KnownProvider): string {
  return knownProviders[name]().adapter.keyVariable ?? "";
}

/** The providers whose keys are in the environment. */
export function providersWithKeys(env: Env): readonly KnownProvider[] {
  return providerNames.filter((name) => (env[keyVariableOf(name)] ?? "") !== "");
}

/**
 * The provider that was named, or the one whose key is in the environment.
 *
 * @throws {@link UsageError} where there is none, there are several, or the key is missing.
 */
export async function chooseProvider(
  flags: ProviderFlags,
  env: Env,
  operation: "generate" | "edit",
): Promise<ChosenProvider> {
  const name = flags.provider ?? onlyOneWithKey(env);
  if (name === "sandbox" || name.startsWith("sandbox:")) {
    const played = name.slice("sandbox:".length);
    // OpenAI takes files as they are; the others take input images by URL alone.
    return sandboxed(
      played === "" ? (operation === "edit" ? "openai" : "trinetra") : played,
      flags,
    );
  }
  const provider = providerOf(name, flags, env);
  const variable = isKnown(name) ? keyVariableOf(name) : compatibleVariable;
  const account = createHmac("sha256", keyIn(env, variable, name))
    .update(`gpt-image-client batch ${provider.baseURL}`)
    .digest("hex")
    .slice(0, 32);
  return { provider, label: name, account, ...optionsOf(name, flags), end: async () => {} };
}

/** The provider of a job, where its key is in the environment. */
export function providerOfJob(
  { provider, baseURL }: Pick<JobReference, "provider" | "baseURL">,
  env: Env,
): Provider | undefined {
  const variable = isKnown(provider) ? keyVariableOf(provider) : compatibleVariable;
  const isOurs = isKnown(provider) || provider === "openai-compatible";
  if (!isOurs || (env[variable] ?? "") === "") return undefined;
  return providerOf(provider, { "base-url": baseURL }, env);
}

/** The provider of a job, to say what became of it: nothing is sent, and no key is read. */
export function silentProviderOf({
  provider,
  baseURL,
}: Pick<JobReference, "provider" | "baseURL">): Provider | undefined {
  const settings = { baseURL, apiKey: "none: nothing is sent" };
  if (isKnown(provider)) return knownProviders[provider](settings);
  return provider === "openai-compatible" ? openaiCompatible(settings) : undefined;
}

/** A provider by its name, with its key from the environment. */
export function providerOf(name: string, flags: ProviderFlags, env: Env): Provider {
  if (name === "openai-compatible") {
    const { "base-url": baseURL, model } = flags;
    if (baseURL === undefined) throw new UsageError("openai-compatible takes a --base-url");
    const apiKey = keyIn(env, compatibleVariable, name);
    return openaiCompatible({ baseURL, apiKey, ...(model !== undefined && { model }) });
  }
  if (!isKnown(name)) {
    throw new UsageError(`There is no provider "${name}": there are ${names.join(", ")}`);
  }
  return make(name, { apiKey: keyIn(env, keyVariableOf(name), name), ...addressOf(flags) }, flags);
}

function make(name: KnownProvider, settings: ProviderSettings, { model }: ProviderFlags): Provider {
  if (name !== "openai") return knownProviders[name](settings);
  return openai({ ...settings, ...(model !== undefined && { model }) });
}

function addressOf({ "base-url": baseURL }: ProviderFlags): Pick<ProviderSettings, "baseURL"> {
  return baseURL === undefined ? {} : { baseURL };
}

/** Elsewhere than at OpenAI the model goes with the request. */
function optionsOf(name: string, { model }: ProviderFlags) {
  if (model === undefined || /^openai/.test(name)) return {};
  return { providerOptions: { [name]: { model } } };
}

function keyIn(env: Env, variable: string, name: string): string {
  const key = env[variable] ?? "";
  if (key !== "") return key;
  const way = `Put your key for ${name} into the environment variable ${variable}`;
  throw new UsageError(`${way}; "--provider sandbox" needs none`);
}

function onlyOneWithKey(env: Env): KnownProvider {
  const [only, ...others] = providersWithKeys(env);
  const variables = providerNames.map(keyVariableOf);
  if (only === undefined) {
    const set = `Set one of ${variables.join(", ")}`;
    throw new UsageError(
      `No provider's key is in the environment. ${set}, or try --provider sandbox`,
    );
  }
  if (others.length === 0) return only;
  const found = [only, ...others].join(", ");
  throw new UsageError(`There are keys for ${found}: say which by --provider`);
}

/** A provider as the sandbox plays it, in this process. */
async function sandboxed(name: string, flags: ProviderFlags): Promise<ChosenProvider> {
  if (!isKnown(name)) throw new UsageError(`The sandbox plays ${providerNames.join(", ")}`);
  if (flags["base-url"] !== undefined) throw new UsageError("The sandbox takes no --base-url");
  const { startSandbox } = await import("../../testing/index");
  const sandbox = await startSandbox({ jobDurationMs: 1_500 });
  const settings = sandbox[name];
  const provider =
    name === "openai"
      ? openai({ ...settings, prices: sandboxPrices })
      : make(name, settings, flags);
  const end = () => sandbox.close();
  return { provider, label: "sandbox", ...optionsOf(name, flags), end };
}
