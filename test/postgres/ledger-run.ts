/** `npm run test:ledger:postgres [orders] [seed]`: the long form of eight processes over one ledger. */
import { linesOf, orderAtOnce } from "./ledger-orders";
import { PostgresServer } from "./support/server";

const [orders = "10000", seed = String(Date.now() % 100_000)] = process.argv.slice(2);
await using server = await PostgresServer.start();
const report = await orderAtOnce(server, { orders: Number(orders), seed: Number(seed) });
console.log(`seed ${seed}\n${linesOf(report)}`);
process.exitCode = report.highest.every(({ budget, seen }) => seen <= budget.amount) ? 0 : 1;
