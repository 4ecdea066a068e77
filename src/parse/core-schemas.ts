import type * as z from "zod/mini";
import { _isoDateTime, $ZodISODateTime, $ZodObjectJIT } from "zod/v4/core";

/**
 * A schema of an object as zod's full build reads it: by a function that zod writes for it at its first
 * use, which takes a millisecond, and saves one or two microseconds each time after that. The outcome is
 * the same. It is for what an endpoint that answers at once may be asked thousands of times, and not
 * worth it where a job takes minutes. In a process that forbids such functions
 * (`node --disallow-code-generation-from-strings`) it is read as ever.
 *
 * Not `z.compile`: that is faster still, and three times as large as all that is bundled of zod.
 *
 * It has no methods: read with it by `z.safeParse(schema, value)`.
 */
export function compiled<Shape extends z.core.$ZodShape, Config extends z.core.$ZodObjectConfig>(
  schema: z.core.$ZodObject<Shape, Config>,
): z.core.$ZodObject<Shape, Config> {
  // Its type does not say that the shape is that of the definition.
  return new $ZodObjectJIT(schema._zod.def) as z.core.$ZodObject<Shape, Config>;
}

/**
 * What `z.iso.datetime()` accepts: ISO 8601 in UTC. Not through `z.iso`, a namespace that esbuild cannot
 * take apart, and whose helper it puts into a file of its own. It has no methods.
 */
export const isoDateTime = (error?: string) => _isoDateTime($ZodISODateTime, error);
