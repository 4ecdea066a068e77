import { isIPv6 } from "node:net";
import { ProxyError } from "./faults";

/** A proxy that the environment names. */
export interface EnvironmentProxy {
  /** The variable that names it. */
  readonly variable: string;
  /** As it may be shown, without user and password: `http://proxy.example:3128`. */
  readonly address: string;
  readonly protocol: "http:" | "https:";
  /** Without brackets around IPv6. */
  readonly hostname: string;
  readonly port: string;
  /** The value of `Proxy-Authorization`. */
  readonly authorization: string | undefined;
}

/** The variables that hold for a scheme: the first that is set counts, as with curl and undici. */
const variables = {
  "http:": ["http_proxy", "HTTP_PROXY"],
  "https:": ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"],
} as const;

/**
 * The proxy that a URL is to be reached through, by the environment as it is now.
 *
 * @throws {@link ProxyError} where the variable holds something else than the address of a proxy.
 */
export function proxyFor(url: URL): EnvironmentProxy | undefined {
  const found = firstOf(variables[url.protocol === "https:" ? "https:" : "http:"]);
  if (found === undefined || isBypassed(url)) return undefined;
  return proxyOf(found.variable, found.value);
}

/** A variable that is blank is not set. */
function firstOf(names: readonly string[]): { variable: string; value: string } | undefined {
  for (const variable of names) {
    const value = process.env[variable]?.trim();
    if (value) return { variable, value };
  }
  return undefined;
}

/** What each variable held last. */
const known = new Map<string, { readonly value: string; readonly proxy: EnvironmentProxy }>();

function proxyOf(variable: string, value: string): EnvironmentProxy {
  const last = known.get(variable);
  if (last?.value === value) return last.proxy;
  const proxy = parseProxy(variable, value);
  known.set(variable, { value, proxy });
  return proxy;
}

function parseProxy(variable: string, value: string): EnvironmentProxy {
  const fail = (why: string): never => {
    throw new ProxyError(`${variable} is not the address of a proxy (${shown(value)}): ${why}`, {
      transient: false,
    });
  };
  if (/["'`]/.test(value)) return fail("it has quotes in it");
  const scheme = /^([a-z][a-z\d+.-]*):\/\//i.exec(value)?.[1]?.toLowerCase();
  if (scheme !== undefined && scheme !== "http" && scheme !== "https") {
    return fail(`a proxy is reached by http:// or https://, not ${scheme}://`);
  }
  const text = scheme === undefined ? `http://${value}` : value;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // A password with a bare slash in it ends up in the path, and its start in the port.
  if (url === undefined || `${url.pathname}${url.search}${url.hash}`.includes("@")) {
    return fail("it cannot be parsed as a URL");
  }
  const { origin, hostname, port, username, password } = url;
  const isTls = url.protocol === "https:";
  return {
    variable,
    address: origin,
    protocol: isTls ? "https:" : "http:",
    hostname: hostname.replace(/^\[|\]$/g, ""),
    port: port || (isTls ? "443" : "80"),
    authorization:
      username === "" && password === ""
        ? undefined
        : `Basic ${Buffer.from(`${decoded(username)}:${decoded(password)}`).toString("base64")}`,
  };
}

/** What stands before the `@` of the proxies that are set now, in the forms in which it travels. */
export function proxyPasswords(): string[] {
  return variables["https:"].flatMap((name) => {
    const proxy = process.env[name];
    const end = proxy?.lastIndexOf("@") ?? -1;
    if (proxy === undefined || end < 0) return [];
    const scheme = proxy.indexOf("://");
    const userinfo = proxy.slice(scheme < 0 ? 0 : scheme + 3, end);
    const password = userinfo.slice(userinfo.indexOf(":") + 1);
    const forms = [userinfo, password].flatMap((each) => [each, decoded(each)]);
    return [...forms, Buffer.from(decoded(userinfo)).toString("base64")];
  });
}

/** A percent sign that encodes nothing stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const longestShown = 200;

/** A value that is no address, without whatever in it may be a user or a password. */
function shown(value: string): string {
  const text = value.replace(/["'`]/g, "").trim();
  const scheme = /^[a-z][a-z\d+.-]*:\/\//i.exec(text)?.[0] ?? "";
  const afterUser = text.slice(Math.max(scheme.length, text.lastIndexOf("@") + 1));
  const colon = afterUser.indexOf(":");
  const isPort = /^\d{1,5}(?:[/?#]|$)/.test(afterUser.slice(colon + 1));
  const host = colon < 0 || isPort ? afterUser : `${afterUser.slice(0, colon)}:…`;
  return (scheme + host).slice(0, longestShown);
}

/** A host that `NO_PROXY` names, perhaps on one port alone. */
interface Bypass {
  /** As in a URL, with brackets around IPv6; its subdomains are meant, too. */
  readonly hostname: string;
  readonly port: string | undefined;
}

let lastBypasses: { readonly value: string; readonly bypasses: readonly Bypass[] } | undefined;

function isBypassed(url: URL): boolean {
  const value = firstOf(["no_proxy", "NO_PROXY"])?.value;
  if (value === undefined) return false;
  if (lastBypasses?.value !== value) lastBypasses = { value, bypasses: parseBypasses(value) };
  const hostname = url.hostname.replace(/\.$/, "");
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  return lastBypasses.bypasses.some(
    (each) =>
      (each.port === undefined || each.port === port) &&
      (each.hostname === "*" ||
        hostname === each.hostname ||
        hostname.endsWith(`.${each.hostname}`)),
  );
}

function parseBypasses(value: string): Bypass[] {
  return value
    .split(/[,\s]+/)
    .filter(Boolean)
    .map(parseBypass);
}

/** undici's own proxy agent takes the last group of a bare IPv6 address for a port. */
function parseBypass(entry: string): Bypass {
  const [, inner = entry, innerPort] = /^\[([^\]]*)\](?::(\d+))?$/.exec(entry) ?? [];
  if (isIPv6(inner) && URL.canParse(`http://[${inner}]`)) {
    return { hostname: new URL(`http://[${inner}]`).hostname, port: innerPort };
  }
  const [, host = entry, port] = /^([^:]+):(\d+)$/.exec(entry) ?? [];
  return {
    hostname: host
      .replace(/^\*?\./, "")
      .replace(/\.$/, "")
      .toLowerCase(),
    port,
  };
}
