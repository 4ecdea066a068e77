import { once } from "../async/lazy";

/**
 * Node's zlib, loaded with the first response that is compressed: it takes a few milliseconds, and few
 * are. `import()` would make every caller asynchronous.
 */
export const lateZlib = once(() => process.getBuiltinModule("node:zlib"));
