/** Whether HTTP can hold it. */
export function isHeader(name: string, value: unknown): boolean {
  const isName = /^[\w!#$%&'*+.^`|~-]+$/.test(name);
  return isName && typeof value === "string" && /^[\t\x20-\x7e\x80-\xff]*$/.test(value);
}
