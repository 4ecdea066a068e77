import type { ImageRequest } from "../../index";
import type { ImageLedger } from "../router/index";

const mostSamples = 20;
const leastSamples = 3;
const monthMs = 30 * 24 * 60 * 60 * 1000;

/** How long such orders took of late: the median of the last ones. `undefined` where there are too few. */
export async function expectedMsOf(
  ledger: ImageLedger,
  client: string,
  request: ImageRequest,
): Promise<number | undefined> {
  const operation = request.images === undefined ? "generate" : "edit";
  const images = request.n ?? 1;
  const taken: number[] = [];
  const from = new Date(Date.now() - monthMs).toISOString();
  for await (const entry of ledger.entries({ from })) {
    if (entry.state !== "charged" || entry.settledAt === undefined) continue;
    if (entry.client !== client || entry.operation !== operation) continue;
    if (entry.images === images) taken.push(Date.parse(entry.settledAt) - Date.parse(entry.at));
  }
  const samples = taken.slice(-mostSamples).sort((a, b) => a - b);
  return samples.length < leastSamples ? undefined : samples[Math.floor(samples.length / 2)];
}
