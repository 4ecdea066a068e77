import { _isoDateTime, $ZodISODateTime } from "zod/v4/core";

/**
 * What `z.iso.datetime()` accepts: ISO 8601 in UTC. Not through `z.iso`, a namespace that esbuild cannot
 * take apart, and whose helper it puts into a file of its own. It has no methods.
 */
export const isoDateTime = (error?: string) => _isoDateTime($ZodISODateTime, error);
