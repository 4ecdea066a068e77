import { _isoDateTime, $ZodISODateTime } from "zod/v4/core";

/**
 * A date and time of ISO 8601 in UTC, as `Date.toISOString` writes it: what `z.iso.datetime` reads, which
 * a bundler cannot take out of `z.iso`. With that an import of this package loaded one file more.
 */
export const isoDateTime = (error?: string) => _isoDateTime($ZodISODateTime, error);
