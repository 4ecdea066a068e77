import * as z from "zod/mini";
import type { Cost } from "../cost";
import type { BoundOperation, Call, InputRule, Task } from "./contract";
import type { DimensionRule } from "./dimensions";

/** What an adapter says of one operation. The schemas may be of zod or of its mini build. */
export interface OperationDescription<
  Parameters extends z.core.$ZodObject,
  Options extends z.core.$ZodObject,
> {
  /** The portable fields that it takes, with what each may hold; a field that is not here is unsupported. */
  readonly parameters: Parameters;
  /** The provider's own entry of `providerOptions`. */
  readonly options: Options;
  /** How many images one native request yields at most; more are split into tasks. */
  readonly maxImagesPerTask: number;
  /** How it says how large; left out where it does not. */
  readonly dimensions?: DimensionRule;
  /** For an edit: what it takes of images. */
  readonly inputs?: InputRule;
  /** The native request. */
  create(task: Task<z.output<Parameters>, z.output<Options>>): Call;
  /** What one task of `n` images costs by the published list, where that can be known beforehand. */
  price?(parameters: z.output<Parameters>, n: number): Cost | undefined;
}

/** Ties an operation's schemas to the functions that take their output. */
export function defineOperation<
  Parameters extends z.core.$ZodObject,
  Options extends z.core.$ZodObject,
>(description: OperationDescription<Parameters, Options>): BoundOperation {
  const { maxImagesPerTask, dimensions, inputs } = description;
  return {
    fields: Object.keys(description.parameters._zod.def.shape),
    optionNames: Object.keys(description.options._zod.def.shape),
    maxImagesPerTask,
    dimensions,
    inputs,
    bind(givenParameters, givenOptions) {
      const parameters = z.safeParse(description.parameters, givenParameters);
      const options = z.safeParse(
        description.options,
        givenOptions === undefined ? {} : givenOptions,
      );
      if (!parameters.success || !options.success) {
        return {
          parameterIssues: parameters.error?.issues ?? [],
          optionIssues: options.error?.issues ?? [],
        };
      }
      const bound = { parameters: parameters.data, options: options.data };
      return {
        create: (sending) =>
          description.create({ parameters: bound.parameters, options: bound.options, ...sending }),
        price: (n) => description.price?.(parameters.data, n),
      };
    },
  };
}
