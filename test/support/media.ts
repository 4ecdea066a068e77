/** A picture by its first bytes, and noise after them, the same for the same seed. */
export function pictureOf(byteLength: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(byteLength);
  let state = seed;
  for (let at = 0; at < byteLength; at += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[at] = state >>> 24;
  }
  Buffer.from("\x89PNG\r\n\x1a\n", "latin1").copy(bytes);
  return bytes;
}
