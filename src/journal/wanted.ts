/** Whether a listing is for what stands in a journal; what is no record belongs to the unsettled ones. */
export function isWanted(
  record: unknown,
  { settled }: { readonly settled?: boolean } = {},
): boolean {
  const state = typeof record === "object" && record !== null && "state" in record && record.state;
  return settled === undefined || settled === (state === "succeeded" || state === "failed");
}
