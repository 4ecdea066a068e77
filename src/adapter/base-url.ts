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
  // As `URL` does: blanks around it do not count, nor line breaks in it.
  const text = String(given ?? "")
    .trim()
    .replace(/[\t\n\r]/g, "");
  const [beforeFragment = "", fragment] = text.split("#", 2);
  const [place = ""] = beforeFragment.split("?", 1);
  const url = URL.canParse(place) ? new URL(place) : undefined;
  const isWeb = url !== undefined && /^https?:$/.test(url.protocol);
  const hasCredentials = isWeb ? `${url.username}${url.password}` !== "" : place.includes("@");
  if (hasCredentials || !isWeb || fragment !== undefined) {
    const wrong = hasCredentials ? "credentials" : isWeb && "a fragment (#)";
    return {
      given: wrong
        ? `one with ${wrong}`
        : place === ""
          ? "nothing"
          : JSON.stringify(place.slice(0, 60)),
      taken: 'an http(s) URL such as "https://api.example.com/v1"',
    };
  }
  return { baseURL: withoutSlashes(place), query: beforeFragment.slice(place.length + 1) };
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
