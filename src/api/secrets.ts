import { inspect } from "node:util";
import { reasonOf } from "../errors";
import { proxyPasswords } from "../http/proxy-environment";

/** How many past keys from `apiKey` are still redacted after their calls have ended. */
const mostKept = 16;

/** A shorter one may stand in a URL or an id by chance (`"openai"`), and must not spoil what was paid for. */
const leastInAddress = 16;

/** Values sent to a provider that must never be shown. */
export class Secrets {
  /** Those of the settings, which do not change. */
  readonly #fixed: readonly string[];
  /** The newest last. */
  readonly #recent: string[] = [];
  /** How many calls are under way with a key. */
  readonly #underWay = new Map<string, number>();
  /** Those of the settings that must not stand in a URL either. */
  readonly #fixedInAddresses: readonly string[];
  #lists: { readonly all: readonly string[]; readonly inAddresses: readonly string[] } | undefined;

  /**
   * @param headers the caller's own: the values of those whose names tell of a secret. That of a session
   * may well stand in the URLs of its pictures and the ids of its jobs, which would lead nowhere without.
   * @param query of the base URL: all its values. A version among them may well stand in the URL of a
   * picture, which has to stay as it is: there only those count whose names tell of a secret.
   * @param others more that is known, such as what webhooks are signed with.
   */
  constructor(
    headers: Readonly<Record<string, string>>,
    query: string,
    others: readonly string[] = [],
  ) {
    const ofHeaders = Object.entries(headers);
    const keys = ofHeaders.filter(([name]) => !/session/i.test(name));
    const always = [...others, ...named([...new URLSearchParams(query)]).flatMap(asSent)];
    this.#fixedInAddresses = [...always, ...named(keys).flatMap(partsOf)];
    const values = [...named(ofHeaders).flatMap(partsOf), ...query.split("&").flatMap(valuesOf)];
    this.#fixed = [...always, ...values];
  }

  /** The longest first: one may be a part of another. */
  get all(): readonly string[] {
    return this.#current.all;
  }

  get #current() {
    const keys = this.#lists === undefined ? this.#keys() : [];
    this.#lists ??= {
      all: longestFirst([...this.#fixed, ...keys]),
      inAddresses: longestFirst([...this.#fixedInAddresses, ...keys]),
    };
    return this.#lists;
  }

  #keys(): readonly string[] {
    return [...new Set([...this.#recent, ...this.#underWay.keys()])].flatMap(asSent);
  }

  /**
   * A call with this key begins. It is known until that has ended, which is to be told by calling what
   * is returned, and for some time after.
   */
  hold(key: string): () => void {
    const calls = this.#underWay.get(key) ?? 0;
    this.#underWay.set(key, calls + 1);
    if (this.#recent.at(-1) !== key) this.#remember(key);
    return () => this.#letGo(key);
  }

  #remember(key: string): void {
    const at = this.#recent.indexOf(key);
    if (at >= 0) this.#recent.splice(at, 1);
    else this.#lists = undefined;
    this.#recent.push(key);
    if (this.#recent.length > mostKept) this.#recent.shift();
  }

  #letGo(key: string): void {
    const calls = (this.#underWay.get(key) ?? 1) - 1;
    if (calls > 0) {
      this.#underWay.set(key, calls);
      return;
    }
    this.#underWay.delete(key);
    if (!this.#recent.includes(key)) this.#lists = undefined;
  }

  /** A text without any of them. */
  strike(text: string): string {
    return redacted(text, this.all);
  }

  /** A URL or an id without any of them: it has to work all the same. */
  strikeAddress(text: string): string {
    return redacted(text, this.#current.inAddresses, leastInAddress);
  }

  /** What was thrown on the way, in words: it may also tell of a proxy, and of its password. */
  strikeFault(text: string): string {
    return redacted(text, [...this.all, ...proxyPasswords()]);
  }

  /** A cause that shows none: itself, or what is left of it. */
  redactCause(cause: unknown): unknown {
    return redactCause(cause, [...this.all, ...proxyPasswords()]);
  }
}

const secretWords = new Set([
  ...["key", "apikey", "token", "secret", "auth", "authorization", "authentication"],
  ...["credential", "credentials", "password", "cookie", "signature", "session"],
]);

/** Whether a name tells of a secret by a whole word of it: `x-api-key` does, `x-portkey-provider` not. */
export function tellsOfSecret(name: string): boolean {
  return name
    .toLowerCase()
    .split(/[-_]/)
    .some((word) => secretWords.has(word));
}

function named<Value>(entries: readonly (readonly [string, Value])[]): Value[] {
  return entries.flatMap(([name, value]) => (tellsOfSecret(name) ? [value] : []));
}

/** A header's value, and what in it is the secret itself: behind `Bearer`, and in each cookie. */
function partsOf(value: string): string[] {
  const blank = value.indexOf(" ");
  const cookies = value.includes("=") ? value.split(/[;,]/) : [];
  return [
    value,
    ...(blank < 0 ? [] : [value.slice(blank + 1)]),
    ...cookies.map((each) => each.slice(each.indexOf("=") + 1).trim()),
  ];
}

/** The value of one `name=value`, as it stands there and as it was meant. */
function valuesOf(pair: string): string[] {
  const at = pair.indexOf("=");
  return at < 0 ? [] : [pair.slice(at + 1), ...new URLSearchParams(pair).values()];
}

/** As it is sent, as a URL would hold it, and in base64: a server may show a basic header. */
function asSent(secret: string): string[] {
  return [...new Set([secret, encodeURIComponent(secret), ...inBase64(secret)])];
}

/** In base64 of fewer letters than that, text may stand by chance. */
const leastBase64Letters = 10;

/** What of the base64 of any text with the secret in it is the secret's alone, by where a group of three begins. */
function inBase64(secret: string): string[] {
  return [0, 1, 2].flatMap((before) => {
    const bytes = Buffer.concat([Buffer.alloc(before), Buffer.from(secret)]);
    // What shares a letter with its neighbours is not known.
    const letters = bytes
      .toString("base64")
      .slice(Math.ceil((before * 8) / 6), Math.floor((bytes.length * 8) / 6));
    if (letters.length < leastBase64Letters) return [];
    return [letters, letters.replaceAll("+", "-").replaceAll("/", "_")];
  });
}

function longestFirst(secrets: readonly string[]): readonly string[] {
  return [...new Set(secrets)].sort((a, b) => b.length - a.length);
}

/** A text without the secrets in it. Keys of a few letters stand in any text, and are no secrets. */
export function redacted(text: string, secrets: readonly string[], least = 6): string {
  let clean = text;
  for (const secret of secrets) {
    // Most texts are too short to hold one.
    const mayHold = secret.length >= least && clean.length >= secret.length;
    if (mayHold) clean = clean.replaceAll(secret, "<key>");
  }
  return clean;
}

/** All that a log could show, hidden properties and the ends of long lists and texts included. */
const everything = { depth: 20, showHidden: true, maxArrayLength: null, maxStringLength: null };

/** A cause that shows no secret: itself, or what is left of it. */
export function redactCause(cause: unknown, secrets: readonly string[]): unknown {
  const shown = inspect(cause, everything);
  // What is inspected is quoted, and so may a key in it be.
  const quoted = secrets.flatMap((secret) => [secret, inspect(secret).slice(1, -1)]);
  if (redacted(shown, quoted) === shown) return cause;
  return new Error(redacted(reasonOf(cause), secrets));
}
