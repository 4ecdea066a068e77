/**
 * A process that routes under keys over a journal that others share. With a `point` it takes the one key
 * that it is given, stops there for good and says so: to be killed. Without, it takes keys from its
 * standard input until that ends, and says what became of each.
 */
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";
import {
  createImageClient,
  directoryJournal,
  isImageError,
  type Journal,
  type JournalRecord,
  openaiCompatible,
  shortapi,
} from "gpt-image-client";
import { createPostgresJournal } from "gpt-image-client/postgres";
import { createImageRouter } from "gpt-image-client/router";
import { Pool } from "pg";
import type { ClaimPlan, ClaimPoint, ClaimReport } from "./claims";

const plan: ClaimPlan = JSON.parse(process.argv[2] ?? "{}");
const say = (report: ClaimReport) => console.log(JSON.stringify(report));

const inner: Journal =
  "url" in plan.journal
    ? createPostgresJournal(new Pool({ connectionString: plan.journal.url, max: 4 }))
    : directoryJournal(plan.journal.directory);

/** Never goes on where the process is to be killed. */
async function at(point: ClaimPoint): Promise<void> {
  if (plan.victim?.point !== point) return;
  say({ reached: point });
  await new Promise(() => setInterval(() => {}, 60_000));
}

function stepOf(record: JournalRecord): "claim" | "marker" | "accepted" | "noted" | "ended" {
  const isClaim = record.provider === "gpt-image-client/router";
  if (record.state === "submitting") {
    if (!isClaim) return "marker";
    const { reference } = record.request as { readonly reference?: unknown };
    return reference === undefined ? "claim" : "noted";
  }
  return isClaim ? "ended" : "accepted";
}

const journal: Journal = {
  ...inner,
  async create(record) {
    const step = stepOf(record);
    await at(`${step}:before`);
    const isCreated = await inner.create(record);
    await at(`${step}:after`);
    return isCreated;
  },
  async update(record) {
    const step = stepOf(record);
    await at(`${step}:before`);
    await inner.update(record);
    await at(`${step}:after`);
  },
};

const clients = [
  createImageClient({ provider: shortapi(plan.access.shortapi), journal, poll: 20 }),
  createImageClient({ provider: openaiCompatible(plan.access.openaiCompatible), journal }),
];
// Those that come after it would each choose another client: the claim says whose it is.
const router = createImageRouter({
  clients: plan.victim === undefined ? clients.toReversed() : clients,
  journal,
});

async function order(key: string): Promise<void> {
  try {
    const request = { prompt: `test of ${key}.`, size: "1024x1024" } as const;
    const { image } = await router.generate(request, { idempotencyKey: key });
    const sha256 = createHash("sha256").update(await image.bytes());
    say({ key, sha256: sha256.digest("hex") });
  } catch (error) {
    if (!isImageError(error)) throw error;
    say({ key, code: error.code, charged: error.charged });
  }
}

say({ reached: "ready" });
if (plan.victim !== undefined) await order(plan.victim.key);
else for await (const key of createInterface(process.stdin)) void order(key);
