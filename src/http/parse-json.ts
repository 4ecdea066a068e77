/**
 * Parses JSON as servers send it: a byte order mark before it is no part of it, and an integer that a
 * double cannot hold (an id of 64 bits) comes as the string of its digits, instead of as another number.
 *
 * `JSON.parse` shows a reviver the text of a number from Node 21 on, and Node 20 does not. So the text is
 * parsed again where the value shows that it is necessary, which is seldom.
 *
 * @throws SyntaxError if it is not JSON; RangeError if it is nested too deep to be looked at.
 */
export function parseJson(
  text: string,
  reviver?: (this: unknown, key: string, value: unknown) => unknown,
): unknown {
  // This drops a byte order mark as well, and several: each file that PHP includes may bring one.
  const json = text.trimStart();
  const value: unknown = JSON.parse(json, reviver);
  return holdsLargeNumber(value) ? JSON.parse(withQuotedIntegers(json), reviver) : value;
}

/** Whether there is a number that may not be the one that was written. */
function holdsLargeNumber(value: unknown): boolean {
  if (typeof value === "number") return Math.abs(value) > Number.MAX_SAFE_INTEGER;
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return value.some(holdsLargeNumber);
  // What a reviver put there is no value of JSON.
  if (Object.getPrototypeOf(value) !== Object.prototype) return false;
  // JSON gives own fields alone, and a list of them would be made for each object of each response.
  // A plain object of JSON. `Reflect.get` would take several times as long.
  const fields = value as Readonly<Record<string, unknown>>;
  for (const name in fields) if (holdsLargeNumber(fields[name])) return true;
  return false;
}

/** The strings of a document, and its numbers. */
const stringsAndNumbers = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*/gs;

function withQuotedIntegers(json: string): string {
  return json.replace(stringsAndNumbers, (token) => {
    const isInteger = /^-?\d{16,}$/.test(token);
    return isInteger && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token;
  });
}
