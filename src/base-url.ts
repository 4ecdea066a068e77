/** Where a provider lives. */
export interface BaseURL {
  /** Without a query, and without a slash at its end: a call's path is appended. */
  readonly baseURL: string;
  /** What goes with every call, without its question mark; often empty. It may hold a key. */
  readonly query: string;
}

/** A base URL that is none: in words that repeat neither credentials nor a query. */
export interface BadBaseURL {
  readonly given: string;
  readonly taken: string;
}

/**
 * Reads a base URL as people paste them: with blanks around it, slashes at its end, or a query such
 * as `?api-version=preview`, which belongs behind the path of each call and not before it.
 *
 * The text is kept as it is otherwise. A reference is held against it, and `URL` would write it anew.
 */
export function parseBaseURL(given: unknown): BaseURL | BadBaseURL {
  const text = given instanceof URL ? given.href : given;
  const taken = 'an http(s) URL such as "https://api.example.com/v1"';
  if (typeof text !== "string") return { taken, given: text === undefined ? "nothing" : "no text" };
  // As `URL` does: blanks around it do not count, nor line breaks in it.
  const trimmed = text.trim().replace(/[\t\n\r]/g, "");
  const [beforeFragment = "", ...fragment] = trimmed.split("#");
  const at = beforeFragment.indexOf("?");
  const place = at < 0 ? beforeFragment : beforeFragment.slice(0, at);
  const url = URL.canParse(place) ? new URL(place) : undefined;
  const isWeb = url?.protocol === "http:" || url?.protocol === "https:";
  if (url?.username || url?.password || (!isWeb && place.includes("@"))) {
    return { given: "a URL with credentials", taken: `${taken}, without credentials` };
  }
  if (!isWeb) {
    return { given: JSON.stringify(shortened(place)), taken };
  }
  if (fragment.length > 0) {
    return { given: "a URL with a fragment (#)", taken: `${taken}, without a fragment` };
  }
  return {
    baseURL: withoutSlashes(place),
    query: at < 0 ? "" : beforeFragment.slice(at + 1),
  };
}

/** A base URL without the path of a call at its end, which people copy along with it. */
export function withoutPaths(given: string, paths: readonly string[]): string {
  const parsed = parseBaseURL(given);
  const path = "taken" in parsed ? undefined : paths.find((each) => parsed.baseURL.endsWith(each));
  if (path === undefined || "taken" in parsed) return given;
  const baseURL = parsed.baseURL.slice(0, -path.length);
  return parsed.query === "" ? baseURL : `${baseURL}?${parsed.query}`;
}

/** Not by `/\/+$/`, which looks for the end anew from each slash. */
function withoutSlashes(text: string): string {
  let end = text.length;
  while (text[end - 1] === "/") end -= 1;
  return text.slice(0, end);
}

function shortened(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
