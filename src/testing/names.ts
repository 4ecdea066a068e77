/**
 * Refuses what nothing takes: a test would run without what it was written for.
 *
 * @throws {TypeError} naming it, and what there is.
 */
export function checkNames(given: object, names: readonly string[], of = ""): void {
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || names.includes(name)) continue;
    throw new TypeError(`There is no \`${name}\`${of}: there are ${names.join(", ")}.`);
  }
}
