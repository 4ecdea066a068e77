import type * as z from "zod/mini";
import { $ZodObjectJIT } from "zod/v4/core";

/**
 * A schema of an object as zod's full build reads it: by a function that zod writes for it at its first
 * use, in a third of the time, with the same outcome. In a process that forbids such functions
 * (`node --disallow-code-generation-from-strings`) it is read as ever. For what each call reads.
 *
 * It has no methods: read with it by `z.safeParse(schema, value)`.
 */
export function compiled<Shape extends z.core.$ZodShape, Config extends z.core.$ZodObjectConfig>(
  schema: z.core.$ZodObject<Shape, Config>,
): z.core.$ZodObject<Shape, Config> {
  // Its type does not say that the shape is that of the definition.
  return new $ZodObjectJIT(schema._zod.def) as z.core.$ZodObject<Shape, Config>;
}
