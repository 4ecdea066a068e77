/** What the exit codes mean: they tell of money, and the highest that holds wins. */
export const exitCodes = {
  allCame: 0,
  nothingCharged: 1,
  usage: 2,
  partial: 3,
  chargedAndNotDelivered: 4,
  unknown: 5,
} as const;
