import images from "../fixtures/images.json";

/** A small image of a real encoder, by its name in `fixtures/images.json`. */
export function fixture(name: string): Buffer {
  const found = images.find((image) => image.name === name);
  if (found === undefined) throw new Error(`There is no fixture ${name}`);
  return Buffer.from(found.base64, "base64");
}
