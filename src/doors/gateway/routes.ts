import { GatewayFault } from "./faults";

/** Where a request goes. */
export type Route =
  | { readonly to: "generate" | "edit" | "models" }
  | { readonly to: "job"; readonly id: string };

/**
 * By the end of the path: what stands before it is the base URL that callers were given.
 *
 * @throws {@link GatewayFault} 404, or 405 for another method.
 */
export function routeOf(method: string, path: string): Route {
  const [, job] = /\/images\/jobs\/([^/]+)\/?$/.exec(path) ?? [];
  const found: readonly [string, Route] | undefined = /\/images\/generations\/?$/.test(path)
    ? ["POST", { to: "generate" }]
    : /\/images\/edits\/?$/.test(path)
      ? ["POST", { to: "edit" }]
      : /\/models\/?$/.test(path)
        ? ["GET", { to: "models" }]
        : job === undefined
          ? undefined
          : ["GET", { to: "job", id: job }];
  if (found === undefined) {
    const message = `There is nothing at ${path}: this gateway has /images/generations, /images/edits, /images/jobs/{id} and /models.`;
    throw new GatewayFault(404, "not_found", message);
  }
  const [allowed, route] = found;
  if (method === allowed) return route;
  const headers = { allow: allowed };
  throw new GatewayFault(405, "method_not_allowed", `${path} takes ${allowed}.`, { headers });
}
