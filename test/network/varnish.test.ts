import { startSandbox } from "gpt-image-client/testing";
import { describe, expect, test } from "vitest";
import { deadPort, describeWith } from "./support/daemon";
import { jobClientAt } from "./support/job-providers";
import { startVarnish } from "./support/servers";
import { endOf, expectOnPage, generateAt, page, type Row, seen, testRows } from "./support/trial";
import { startUpstream } from "./support/upstream";

const failed = "503, `Retry-After: 5`";

const rows: readonly Row[] = [
  {
    what: "it passes the create on",
    ...{ answers: "200", creates: 1, says: "the image" },
    async run() {
      await using upstream = await startUpstream();
      await using varnish = await startVarnish(upstream.port);
      return seen(await generateAt(varnish.url), upstream.creates.length);
    },
  },
  {
    what: "`first_byte_timeout` (60 s) passes before the provider answers",
    ...{ answers: failed, creates: 1, says: "unknown" },
    async run() {
      await using upstream = await startUpstream({ answers: "image", afterMs: 2_500 });
      await using varnish = await startVarnish(upstream.port, { first_byte_timeout: 1 });
      return seen(await generateAt(varnish.url), upstream.creates.length);
    },
  },
  {
    what: "the provider closes a connection that was used before, after it has read the create",
    ...{ answers: failed, creates: 1, says: "unknown" },
    async run() {
      await using upstream = await startUpstream();
      await using varnish = await startVarnish(upstream.port);
      await generateAt(varnish.url, { prompt: "first" });
      upstream.behaviour = { answers: "nothing", by: "close" };
      const end = await generateAt(varnish.url);
      return seen(end, upstream.creates.length - 1);
    },
  },
  {
    what: "the provider cannot be reached",
    ...{ answers: failed, creates: 0, says: "unknown" },
    async run() {
      await using varnish = await startVarnish(await deadPort());
      return seen(await generateAt(varnish.url), 0);
    },
  },
  {
    what: "the provider's response breaks off half way",
    ...{ answers: "nothing", creates: 1, says: "unknown" },
    async run() {
      await using upstream = await startUpstream({ answers: "half an image" });
      await using varnish = await startVarnish(upstream.port);
      return seen(await generateAt(varnish.url), upstream.creates.length);
    },
  },
];

test("the page tells of Varnish what these tests show", () => expectOnPage("Varnish", rows));

describeWith("varnishd", () => {
  testRows(rows);

  describe("before a provider that answers with a job", () => {
    test("shortapi: a create that Varnish answers by 503 is sent once, and perhaps charged", async () => {
      await using sandbox = await startSandbox({ plainImages: true });
      const { port } = new URL(sandbox.url);
      await using varnish = await startVarnish(Number(port), { first_byte_timeout: 1 });
      sandbox.inject({ provider: "shortapi", phase: "create", fault: "slow", delayMs: 2_500 });
      const client = jobClientAt(varnish.url, "shortapi", sandbox);
      const { error } = await endOf((call) => client.generate({ prompt: "A fox" }, call));
      expect(error).toMatchObject({ status: 503, charged: "unknown", retryable: false });
      expect(sandbox.charges).toHaveLength(1);
    });

    test("shortapi: its polls carry `Authorization`, and each is passed on", async () => {
      await using sandbox = await startSandbox({ plainImages: true });
      await using varnish = await startVarnish(Number(new URL(sandbox.url).port));
      const client = jobClientAt(varnish.url, "shortapi", sandbox);
      const { result } = await endOf((call) => client.generate({ prompt: "A fox" }, call));
      const polls = sandbox.requests.filter(({ phase }) => phase === "poll");
      expect(polls).toHaveLength(result?.timing.polls ?? -1);
    });

    test("trinetra: its polls carry `x-api-key`, and one response is kept for `default_ttl` (120 s): late, but charged once", async () => {
      await using sandbox = await startSandbox({ plainImages: true });
      const { port } = new URL(sandbox.url);
      // Longer than the job takes, and short enough to wait for; Varnish may go on to serve what has
      // just gone stale for `default_grace`.
      const kept = { default_ttl: 2, default_grace: 0 };
      await using varnish = await startVarnish(Number(port), kept);
      const client = jobClientAt(varnish.url, "trinetra", sandbox);
      const { result } = await endOf((call) => client.generate({ prompt: "A fox" }, call));
      expect(result?.timing.durationMs).toBeGreaterThan(1_500);
      const polls = sandbox.requests.filter(({ phase }) => phase === "poll");
      expect(polls.length).toBeLessThan(result?.timing.polls ?? 0);
      expect(sandbox.charges).toHaveLength(1);
    });

    test("trinetra: with the lines that the page recommends each poll is passed on", async () => {
      const [, lines = ""] = /^```vcl\n(.*?)^```$/ms.exec(page) ?? [];
      expect(lines).toContain("X-API-Key");
      await using sandbox = await startSandbox({ plainImages: true });
      await using varnish = await startVarnish(Number(new URL(sandbox.url).port), {}, lines);
      const client = jobClientAt(varnish.url, "trinetra", sandbox);
      const { result } = await endOf((call) => client.generate({ prompt: "A fox" }, call));
      const polls = sandbox.requests.filter(({ phase }) => phase === "poll");
      expect(polls).toHaveLength(result?.timing.polls ?? -1);
    });
  });
});
