import { type ImageRequest, InvalidRequestError, type ProviderOptions } from "../../index";
import type { Member } from "./members";

/** Under which names a client reads its options. */
function namesOf({ client }: Member): readonly string[] {
  return client.capabilities.providerOptions ?? [client.name];
}

/** What is wrong with the names in `providerOptions`: one that none of the clients knows. */
export function strayOption(
  request: ImageRequest,
  members: readonly Member[],
): InvalidRequestError | undefined {
  const known = new Set(members.flatMap(namesOf));
  const stray = Object.keys(optionsIn(request)).find((name) => !known.has(name));
  if (stray === undefined) return undefined;
  const shown = stray.length > 60 ? `${stray.slice(0, 60)}…` : stray;
  return new InvalidRequestError({
    ...{ charged: "no", field: `providerOptions.${shown}`, isUnknown: true },
    taken: `the clients of this router know ${[...known].join(", ")}`,
  });
}

/** The request with the options of one client alone. */
export function requestFor<Request extends ImageRequest>(
  request: Request,
  member: Member,
): Request {
  const given = optionsIn(request);
  if (Object.keys(given).length === 0) return request;
  const names = namesOf(member);
  const own = Object.entries(given).filter(([name]) => names.includes(name));
  return { ...request, providerOptions: Object.fromEntries(own) };
}

function optionsIn(request: ImageRequest): ProviderOptions {
  const options: unknown = request?.providerOptions;
  // What is no object is named by the clients' own checks.
  const isPlain = typeof options === "object" && options !== null && !Array.isArray(options);
  return isPlain
    ? Object.fromEntries(Object.entries(options).filter(([, each]) => each !== undefined))
    : {};
}
