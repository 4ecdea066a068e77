import { once } from "./lazy";

/*
 * Modules of Node's own that few calls need, loaded as one needs them: at the start each would take two of the
 * 140 ms of a first image on Node 24 (the row "start" of the benchmarks). Not by a late `import()`, which would
 * have to be awaited.
 */

export const builtinDns = once(() => process.getBuiltinModule("node:dns"));
export const builtinUtil = once(() => process.getBuiltinModule("node:util"));
export const builtinZlib = once(() => process.getBuiltinModule("node:zlib"));
