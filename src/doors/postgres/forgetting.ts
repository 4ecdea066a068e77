import type { ExpiredJobs } from "../../index";
import type { Database } from "./database";
import { durably } from "./durability";
import type { Images } from "./images";

/** How many jobs go in one statement of retention. */
const mostExpired = 1_000;

/** The ways of records and their images out of a schema. */
export function forgettingIn(schema: string, database: Database, images: Images) {
  const records = `${schema}.records`;

  /** Forgets a record, where one is given only while it is that; false if nothing was there. */
  async function forget(id: string, expected?: string): Promise<boolean> {
    const [row] = await database.run(
      `WITH record AS (
        DELETE FROM ${records} WHERE id = $1 AND ($2::text IS NULL OR record = $2) RETURNING id
      ),
      gone AS (SELECT $1::text AS id WHERE $2::text IS NULL OR EXISTS (SELECT FROM record)),
      ${images.forgotten()}
      SELECT (SELECT count(*)::integer FROM record) AS forgotten,
        (SELECT count(*)::integer FROM dropped) AS dropped, ${durably}`,
      [id, expected ?? null],
      id,
    );
    if (Number(row?.dropped) > 0) await images.clear(id);
    return Number(row?.forgotten) > 0;
  }

  async function prune({
    provider,
    baseURL,
    account = "",
    settledBefore,
  }: ExpiredJobs): Promise<void> {
    for (;;) {
      const [row] = await database.run(
        `WITH expired AS (
          SELECT DISTINCT job_id FROM ${records} AS old
          WHERE settled_id IS NOT NULL AND settled_at < $1::timestamptz AND provider = $2 AND base_url = $3
            AND account IN ('', $4) AND NOT EXISTS (
              SELECT FROM ${records} AS other WHERE other.job_id = old.job_id
                AND (other.settled_id IS NULL OR other.settled_at >= $1::timestamptz))
          LIMIT ${mostExpired}
        ), gone AS (
          DELETE FROM ${records} AS record USING expired
          WHERE record.job_id = expired.job_id RETURNING record.id
        ), ${images.forgotten()}
        SELECT (SELECT count(*)::integer FROM expired) AS expired,
          (SELECT count(*)::integer FROM gone) AS gone,
          (SELECT count(*)::integer FROM dropped) AS dropped`,
        [settledBefore.toISOString(), provider, baseURL, account],
      );
      if (Number(row?.dropped) > 0) await images.clearAll();
      if (Number(row?.expired) < mostExpired || Number(row?.gone) === 0) return;
    }
  }

  return { forget, prune };
}
