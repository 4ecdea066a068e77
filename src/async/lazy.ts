/** Makes a value at its first use: importing this package does no work. */
export function once<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/** As {@link once}, for what is loaded and may fail: then the next call tries again. */
export function onceLoaded<Value>(load: () => Promise<Value>): () => Promise<Value> {
  let loading: Promise<Value> | undefined;
  return () => {
    loading ??= load().catch((error: unknown) => {
      // Too many open files, say, are a matter of a moment.
      loading = undefined;
      throw error;
    });
    return loading;
  };
}
