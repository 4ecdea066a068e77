import { expect, test } from "vitest";
import { z } from "zod";
import { RateLimiter } from "../../src/async/rate-limiter";
import { ProviderClient } from "../../src/client";
import { type Adapter, defineProvider, readStatus } from "../../src/provider";
import { promptOperation } from "../support/adapter";
import { TestClock } from "../support/clock";
import { aMoment, prompt } from "../support/stage";

/** What a provider says to a poll at a time: `undefined` takes it, a number is its `Retry-After`. */
type Limit = (at: number) => number | undefined;

/** So many polls a second, and as many in one go after a pause. */
function bucket(perSecond: number): Limit {
  let [left, since] = [perSecond, 0];
  return (at) => {
    left = Math.min(perSecond, left + ((at - since) / 1_000) * perSecond);
    since = at;
    if (left < 1) return 1;
    left -= 1;
    return undefined;
  };
}

const adapter: Adapter = {
  name: "limited",
  authorize: (apiKey) => ({ Authorization: apiKey }),
  answersWith: "job",
  idempotent: false,
  operations: {
    generate: promptOperation({ method: "POST", path: "/jobs", body: { json: {} } }),
  },
  query: (id) => ({ method: "GET", path: `/jobs/${id}` }),
  read(phase, response) {
    if (response.status !== 200) return readStatus(phase, response, undefined);
    const { id } = z.object({ id: z.string() }).parse(response.body);
    return { state: "running", id, word: "running", known: true };
  },
};

/** So many jobs that never end, at a provider that limits the polls of them all. */
async function startJobs(count: number, limit: Limit, poll?: number) {
  const clock = new TestClock({ auto: false });
  /** When each job was told how it is doing, in milliseconds since the start. */
  const told = Array.from({ length: count }, (): number[] => []);
  const refusedAt: number[] = [];
  let created = 0;
  const fetch: typeof globalThis.fetch = async (url, init) => {
    if (init?.method === "POST") {
      created += 1;
      return Response.json({ id: String(created - 1) });
    }
    const id = String(url).replace(/.*\//, "");
    const retryAfter = limit(clock.elapsedMs);
    if (retryAfter === undefined) {
      told[Number(id)]?.push(clock.elapsedMs);
      return Response.json({ id });
    }
    refusedAt.push(clock.elapsedMs);
    return new Response(null, { status: 429, headers: { "retry-after": String(retryAfter) } });
  };
  const provider = defineProvider("https://limited.example.com", adapter)({ apiKey: "the-key" });
  const options = { provider, fetch, timeoutMs: 1e9, ...(poll !== undefined && { poll }) };
  const client = new ProviderClient(options, clock);
  const jobs = await Promise.all(Array.from({ length: count }, () => client.submit({ prompt })));
  for (const job of jobs) job.result().catch(() => {});
  await aMoment();
  return { client, clock, told, refusedAt };
}

// ---- a provider's limit, shared ----

test.each([
  ["the default schedule", undefined],
  ["a poll a second", 1_000],
])("with %s two hundred jobs share ten polls a second evenly", async (_, poll) => {
  const { client, clock, told, refusedAt } = await startJobs(200, bucket(10), poll);
  const endMs = 200_000;
  await clock.advance(endMs);
  await client.close();

  const answered = told.flat().length;
  // Nearly all of the ten a second are made use of, and few polls come too often: they are how the limit is found.
  expect(answered).toBeGreaterThan(0.85 * 10 * 200);
  const late = (at: number) => at > endMs / 2;
  const refusals = refusedAt.filter(late).length;
  expect(refusals / told.flat().filter(late).length).toBeLessThan(0.18);
  // A turn for each takes 20 s: nobody waits much longer, and nobody has many more.
  const counts = told.map(({ length }) => length);
  expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(3);
  const gaps = told.flatMap((ages) => ages.map((at, index) => at - (ages[index - 1] ?? 0)));
  expect(Math.max(...gaps)).toBeLessThan(45_000);
});

test("where the limit is one for each minute, it is used up at few refusals", async () => {
  const minuteMs = 60_000;
  let [minute, taken] = [0, 0];
  const window: Limit = (at) => {
    const now = Math.floor(at / minuteMs);
    if (now !== minute) [minute, taken] = [now, 0];
    taken += 1;
    return taken <= 60 ? undefined : Math.ceil(((now + 1) * minuteMs - at) / 1_000);
  };
  const { client, clock, told, refusedAt } = await startJobs(100, window);
  await clock.advance(10 * minuteMs);
  await client.close();

  const answered = told.flat().length;
  expect(answered).toBeGreaterThan(0.7 * 600);
  expect(refusedAt.filter((at) => at > 5 * minuteMs).length).toBeLessThan(0.25 * 300);
  expect(Math.min(...told.map(({ length }) => length))).toBeGreaterThanOrEqual(3);
});

test("once the provider takes more, the polls come as often as they are wanted", async () => {
  const strict = bucket(5);
  let isStrict = true;
  const { client, clock, told } = await startJobs(
    50,
    (at) => (isStrict ? strict(at) : undefined),
    1_000,
  );
  await clock.advance(60_000);
  isStrict = false;
  await clock.advance(60_000);
  const before = told.flat().length;
  await clock.advance(10_000);
  await client.close();

  expect(told.flat().length - before).toBeGreaterThanOrEqual(0.95 * 50 * 10);
});

// ---- turns ----

const never = new AbortController().signal;

test("until a poll is refused, none waits for another", async () => {
  const clock = new TestClock({ auto: false });
  const pace = new RateLimiter(clock);
  for (let poll = 0; poll < 5; poll += 1) {
    await pace.turn(never, false);
    pace.answered(clock.now());
  }
  expect(clock.pending).toBe(0);
});

test("after a refusal they leave one by one, those that were refused before the others", async () => {
  const clock = new TestClock({ auto: false });
  const pace = new RateLimiter(clock);
  pace.answered(clock.now(), 1_000);
  const left: [name: string, atMs: number][] = [];
  const leave = (name: string, wasRefused: boolean) =>
    Promise.resolve(pace.turn(never, wasRefused)).then(() => left.push([name, clock.elapsedMs]));
  const all = [leave("first", false), leave("second", false), leave("refused", true)];
  await clock.advance(2_000);
  await Promise.all(all);
  expect(left).toEqual([
    ["refused", 1_000],
    ["first", 1_010],
    ["second", 1_020],
  ]);
});

test("one job's long Retry-After does not keep the others from asking", async () => {
  const clock = new TestClock({ auto: false });
  const pace = new RateLimiter(clock);
  pace.answered(clock.now(), 3_600_000);
  const turn = pace.turn(never, false);
  await clock.advance(5_000);
  await turn;
});

test("of many refusals at once only the first slows the polls down", async () => {
  const clock = new TestClock({ auto: false });
  const pace = new RateLimiter(clock);
  const leftAt = clock.now();
  await clock.advance(100);
  for (let poll = 0; poll < 100; poll += 1) pace.answered(leftAt, 0);
  const turns = [pace.turn(never, false), pace.turn(never, false)];
  await clock.advance(20);
  await Promise.all(turns);
});

test("who does not wait any more gives up the turn, and leaves no timer behind", async () => {
  const clock = new TestClock({ auto: false });
  const pace = new RateLimiter(clock);
  pace.answered(clock.now(), 1_000);
  const leaver = new AbortController();
  const given = pace.turn(leaver.signal, false);
  const next = pace.turn(never, false);
  leaver.abort(new Error("gone"));
  await expect(given).rejects.toThrow("gone");
  await clock.advance(1_000);
  await next;
  expect(clock.pending).toBe(0);

  const last = pace.turn(leaver.signal, false);
  await expect(last).rejects.toThrow("gone");
  expect(clock.pending).toBe(0);
});

test("a poll that is asked for by hand waits for no turn", async () => {
  const { client, clock } = await startJobs(3, (at) => (at < 1_000 ? 30 : undefined), 500);
  await clock.advance(1_500);
  const job = await client.submit({ prompt });
  expect(await job.status()).toMatchObject({ state: "running" });
  await client.close();
});

test("refusals that no slowing down averts slow nobody down for long", async () => {
  let polls = 0;
  // Every tenth poll is refused, however many there are: others use the same account.
  const { client, clock, told } = await startJobs(
    100,
    () => {
      polls += 1;
      return polls % 10 === 0 ? 1 : undefined;
    },
    500,
  );
  await clock.advance(60_000);
  await client.close();

  // Without any refusal it would be 12,000.
  expect(told.flat().length).toBeGreaterThan(4_000);
  expect(Math.min(...told.map(({ length }) => length))).toBeGreaterThan(30);
});
