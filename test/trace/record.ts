import { createHook } from "node:async_hooks";

/** What ran while it was recorded. */
export interface Recorded {
  /** The files of the functions, as they were entered. */
  readonly entered: readonly string[];
  /** How many promises were made, by whomever. */
  readonly promises: number;
}

/** Runs work that is traced. */
export type Traced = (work: () => Promise<unknown>) => Promise<void>;

/** Hears which functions are entered, and listens while something is recorded. */
export function traceOf() {
  let entered: string[] | undefined;
  let promises = 0;
  const hook = createHook({
    init(_, type) {
      if (type === "PROMISE") promises += 1;
    },
  });
  return {
    enter(file: string): void {
      entered?.push(file);
    },
    async record(run: (traced: Traced) => Promise<void>): Promise<Recorded> {
      const files: string[] = [];
      let made = 0;
      await run(async (work) => {
        entered = files;
        promises = 0;
        hook.enable();
        await work();
        made = promises;
        hook.disable();
        entered = undefined;
      });
      return { entered: files, promises: made };
    },
  };
}
