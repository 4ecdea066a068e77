/**
 * Several clients as one: fallback by charge, budgets, and a ledger of every order.
 *
 * @module gpt-image-client/router
 */
export {
  createLedger,
  type ImageLedger,
  jsonLinesLedger,
  type LedgerSettlement,
  memoryLedger,
} from "./ledger";
export { createImageRouter } from "./router";
export type { LedgerGroup, LedgerTotal, LedgerTotalsOptions } from "./totals";
export type {
  Budget,
  BudgetStatus,
  ImageRouter,
  ImageRouterOptions,
  RouteCandidate,
  RoutedClient,
  RouteEvent,
  RouterCallOptions,
} from "./types";
