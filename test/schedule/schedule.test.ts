import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import { learnedSchedule, trinetra } from "../../src/index";
import { fixedSchedule, type PollMoment, type PollSchedule } from "../../src/schedule/schedule";
import { TestClock } from "../support/clock";
import { startServer } from "../support/server";
import { prompt, startStage } from "../support/stage";

const moment: PollMoment = { provider: "trinetra", operation: "generate", attempt: 3, ageMs: 1e6 };

test("a fixed schedule waits the same always", () => {
  expect(fixedSchedule(20).next(moment)).toBe(20);
});

test("a schedule polls by what its own jobs took, and knows nothing of another's", async () => {
  // The sandbox's time is real, and has long passed when the first poll comes.
  await using stage = await startStage({ jobDurationMs: 0 });
  const firstWaitMs = async (client: ProviderClient) =>
    (await client.generate({ prompt })).timing.durationMs;
  const provider = trinetra(stage.sandbox.trinetra);
  // Named, since the default one does not wait at a provider on a loopback address.
  const newClient = () => new ProviderClient({ provider, poll: learnedSchedule() }, stage.clock);
  const client = newClient();
  const unlearned = await firstWaitMs(client);
  expect(unlearned).toBeGreaterThan(1_000);
  expect(unlearned).toBeLessThanOrEqual(5_250);
  // Five jobs that were done at their first poll: the polls come earlier from now on.
  for (let job = 0; job < 5; job += 1) await firstWaitMs(client);
  const learned = await firstWaitMs(client);
  expect(learned).toBeLessThan(unlearned / 1.5);
  const others = await firstWaitMs(newClient());
  expect(others).toBeGreaterThan(unlearned / 1.2);
});

test("a provider's own least wait between two polls is kept", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const provider = trinetra(stage.sandbox.trinetra);
  const adapter = { ...provider.adapter, pollFloorMs: 20_000 };
  const client = new ProviderClient({ provider: { ...provider, adapter } }, stage.clock);
  const { timing } = await client.generate({ prompt });
  expect(timing).toMatchObject({ polls: 1, durationMs: 20_000 });
});

test("where a webhook tells the end, the schedule learns the end and not the wait before it", async () => {
  const clock = new TestClock({ auto: false });
  const settled: PollMoment[] = [];
  const poll: PollSchedule = { next: () => 1e6, settled: (each) => settled.push(each) };
  await using stage = await startStage({ jobDurationMs: 20 });
  let receive: (call: Request) => void = () => {};
  const posted = new Promise<Request>((resolve) => {
    receive = resolve;
  });
  await using hook = await startServer(({ path, headers, body }, response) => {
    const sent = new Headers();
    for (const [name, value] of Object.entries(headers)) sent.set(name, String(value));
    receive(new Request(`http://app.test${path}`, { method: "POST", headers: sent, body }));
    response.writeHead(204).end();
  });
  const webhooks = { url: `${hook.url}/hook`, secret: "a secret of sixteen" };
  const client = stage.client("shortapi", { poll, webhooks }, clock);
  const job = await client.submit({ prompt });
  const result = job.result();
  const call = await posted;
  await clock.advance(60_000);
  await client.webhooks.handle(call);
  await result;
  expect(settled).toMatchObject([{ attempt: 1, ageMs: 60_000, previousAgeMs: 59_000 }]);
});
