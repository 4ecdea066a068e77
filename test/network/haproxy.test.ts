import { expect, test } from "vitest";
import { deadPort, describeWith } from "./support/daemon";
import { startHaproxy } from "./support/servers";
import { expectOnPage, generateAt, type Row, seen, testRows } from "./support/trial";
import { type Behaviour, startUpstream } from "./support/upstream";

const server = (port: number, name = "a") => `  server ${name} 127.0.0.1:${port}\n`;
const slow = { answers: "image", afterMs: 2_500 } as const;
const closes = { answers: "nothing", by: "close" } as const;

/** One server behind it, with lines of the test's own before that. */
async function through(behaviour: Behaviour, lines = "") {
  await using upstream = await startUpstream(behaviour);
  await using haproxy = await startHaproxy(`${lines}\n${server(upstream.port)}`);
  return seen(await generateAt(haproxy.url), upstream.creates.length);
}

const rows: readonly Row[] = [
  {
    what: "it passes the create on",
    ...{ answers: "200", creates: 1, says: "the image" },
    run: () => through({ answers: "image" }),
  },
  {
    what: "`timeout server` (Debian: 50 s) passes before the provider answers",
    ...{ answers: "504", creates: 1, says: "unknown" },
    run: () => through(slow, "  timeout server 1s"),
  },
  {
    what: "the provider closes the connection after it has read the create; `retries` and `option redispatch` change nothing",
    ...{ answers: "502", creates: 1, says: "unknown" },
    async run() {
      await using first = await startUpstream(closes);
      await using second = await startUpstream();
      const servers = server(first.port) + server(second.port, "b");
      await using haproxy = await startHaproxy(`  retries 3\n  option redispatch\n${servers}`);
      const end = await generateAt(haproxy.url);
      return seen(end, first.creates.length + second.creates.length);
    },
  },
  {
    what: "the provider cannot be reached, or no server is configured",
    ...{ answers: "503", creates: 0, says: "unknown" },
    async run() {
      await using unreachable = await startHaproxy(server(await deadPort()));
      await using empty = await startHaproxy("");
      const end = seen(await generateAt(empty.url), 0);
      expect(seen(await generateAt(unreachable.url), 0)).toEqual(end);
      return end;
    },
  },
  {
    what: "the same, where the client was told of it: `refusalStatuses: [503]`",
    ...{ answers: "503", creates: 0, says: "no" },
    async run() {
      await using haproxy = await startHaproxy("");
      const settings = { name: "haproxy", refusalStatuses: [503] };
      const end = await generateAt(haproxy.url, { timeoutMs: 2_500, settings });
      expect(end.retries).toBeGreaterThan(0);
      return seen(end, 0);
    },
  },
  {
    what: "the create waits longer than `timeout queue` for its turn at a server with `maxconn 1`",
    ...{ answers: "503", creates: 0, says: "unknown" },
    async run() {
      await using upstream = await startUpstream(slow);
      await using haproxy = await startHaproxy(
        `  timeout queue 500ms\n  server a 127.0.0.1:${upstream.port} maxconn 1`,
      );
      const first = generateAt(haproxy.url, { prompt: "first" });
      await expect.poll(() => upstream.creates.length, { timeout: 5_000 }).toBe(1);
      const end = await generateAt(haproxy.url, { prompt: "second" });
      expect((await first).error).toBeUndefined();
      return seen(end, upstream.creates.length - 1);
    },
  },
  {
    what: "`http-request deny` refuses the create",
    ...{ answers: "403", creates: 0, says: "no" },
    async run() {
      await using upstream = await startUpstream();
      await using haproxy = await startHaproxy(server(upstream.port), "  http-request deny");
      const end = await generateAt(haproxy.url);
      // Nobody looked at the key.
      expect(end.error?.code).toBe("permission_denied");
      return seen(end, upstream.creates.length);
    },
  },
  {
    what: "the provider's response breaks off half way",
    ...{ answers: "nothing", creates: 1, says: "unknown" },
    run: () => through({ answers: "half an image" }),
  },
  {
    what: "`timeout server` passes, with `retry-on all-retryable-errors`",
    ...{ answers: "504", creates: 4, says: "unknown" },
    run: () => through(slow, "  timeout server 500ms\n  retry-on all-retryable-errors"),
  },
  {
    what: "the same, with `http-request disable-l7-retry if METH_POST`",
    ...{ answers: "504", creates: 1, says: "unknown" },
    async run() {
      await using upstream = await startUpstream(slow);
      await using haproxy = await startHaproxy(
        `  timeout server 500ms\n  retry-on all-retryable-errors\n${server(upstream.port)}`,
        "  http-request disable-l7-retry if METH_POST",
      );
      return seen(await generateAt(haproxy.url), upstream.creates.length);
    },
  },
];

test("the page tells of haproxy what these tests show", () => expectOnPage("haproxy", rows));

describeWith("haproxy", () => {
  testRows(rows);
});
