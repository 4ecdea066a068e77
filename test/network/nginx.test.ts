import { type SandboxProvider, startSandbox } from "gpt-image-client/testing";
import { describe, expect, test } from "vitest";
import { pictureOf } from "../support/media";
import { deadPort, describeWith } from "./support/daemon";
import { jobClientAt } from "./support/job-providers";
import { startNginx } from "./support/servers";
import {
  clientAt,
  endOf,
  expectOnPage,
  generateAt,
  type Row,
  seen,
  testRows,
} from "./support/trial";
import { startUpstream } from "./support/upstream";

const passOn = (port: number, more = "") =>
  `location / { proxy_pass http://127.0.0.1:${port}; ${more} }`;

/** Two servers of one provider, of which the first is slow. */
async function throughTwo(more: string) {
  await using slow = await startUpstream({ answers: "image", afterMs: 2_500 });
  await using quick = await startUpstream();
  const servers = [slow, quick].map(({ port }) => `server 127.0.0.1:${port};`).join(" ");
  await using nginx = await startNginx(
    `location / { proxy_pass http://both; proxy_read_timeout 1s; ${more} }`,
    { http: `upstream both { ${servers} }` },
  );
  return seen(await generateAt(nginx.url), slow.creates.length + quick.creates.length);
}

/** The second of two creates at a server that lets through one a second. */
async function throughLimit(more = "") {
  await using upstream = await startUpstream();
  await using nginx = await startNginx(passOn(upstream.port, `limit_req zone=each; ${more}`), {
    http: "limit_req_zone $binary_remote_addr zone=each:1m rate=1r/s;",
  });
  await generateAt(nginx.url, { prompt: "first" });
  const end = await generateAt(nginx.url, { prompt: "second" });
  const creates = upstream.creates.filter(({ prompt }) => prompt === "second").length;
  return { end, ...seen(end, creates) };
}

const rows: readonly Row[] = [
  {
    what: "it passes the create on",
    ...{ answers: "200", creates: 1, says: "the image" },
    async run() {
      await using upstream = await startUpstream();
      await using nginx = await startNginx(passOn(upstream.port));
      return seen(await generateAt(nginx.url), upstream.creates.length);
    },
  },
  {
    what: "`proxy_read_timeout` (60 s) passes before the provider answers",
    ...{ answers: "504", creates: 1, says: "unknown" },
    async run() {
      await using upstream = await startUpstream({ answers: "image", afterMs: 2_500 });
      await using nginx = await startNginx(passOn(upstream.port, "proxy_read_timeout 1s;"));
      return seen(await generateAt(nginx.url), upstream.creates.length);
    },
  },
  {
    what: "the provider closes the connection after it has read the create",
    ...{ answers: "502", creates: 1, says: "unknown" },
    async run() {
      await using upstream = await startUpstream({ answers: "nothing", by: "close" });
      await using nginx = await startNginx(passOn(upstream.port));
      return seen(await generateAt(nginx.url), upstream.creates.length);
    },
  },
  {
    what: "the provider cannot be reached",
    ...{ answers: "502", creates: 0, says: "unknown" },
    async run() {
      await using nginx = await startNginx(passOn(await deadPort()));
      return seen(await generateAt(nginx.url), 0);
    },
  },
  {
    what: "the provider's response breaks off half way",
    ...{ answers: "nothing", creates: 1, says: "unknown" },
    async run() {
      await using upstream = await startUpstream({ answers: "half an image" });
      await using nginx = await startNginx(passOn(upstream.port));
      return seen(await generateAt(nginx.url), upstream.creates.length);
    },
  },
  {
    what: "`limit_req` refuses the create",
    ...{ answers: "503", creates: 0, says: "unknown" },
    async run() {
      const { end: _, ...rest } = await throughLimit();
      return rest;
    },
  },
  {
    what: "`limit_req` refuses the create, with `limit_req_status 429`",
    ...{ answers: "429, then 200", creates: 1, says: "the image" },
    async run() {
      const { end, creates, says } = await throughLimit("limit_req_status 429;");
      expect(end.retries).toBeGreaterThan(0);
      return { answers: "429, then 200", creates, says };
    },
  },
  {
    what: "an edit is larger than `client_max_body_size` (1 MB)",
    ...{ answers: "413", creates: 0, says: "no" },
    async run() {
      await using upstream = await startUpstream();
      await using nginx = await startNginx(passOn(upstream.port));
      const client = clientAt(nginx.url);
      const images = [pictureOf(8 * 1024 * 1024)] as const;
      const end = await endOf((call) => client.edit({ prompt: "Make it snow", images }, call));
      return seen(end, upstream.creates.length);
    },
  },
  {
    what: "one of two servers takes longer than `proxy_read_timeout`",
    ...{ answers: "504", creates: 1, says: "unknown" },
    run: () => throughTwo(""),
  },
  {
    what: "the same, with `proxy_next_upstream error timeout non_idempotent`",
    ...{ answers: "200", creates: 2, says: "the image" },
    run: () => throughTwo("proxy_next_upstream error timeout non_idempotent;"),
  },
];

test("the page tells of nginx what these tests show", () => expectOnPage("nginx", rows));

describeWith("nginx", () => {
  testRows(rows);

  describe("before a provider that answers with a job", () => {
    const impatient = (port: number) => passOn(port, "proxy_read_timeout 1s;");
    const slow = { fault: "slow", delayMs: 2_500 } as const;

    test.each<SandboxProvider>(["shortapi", "trinetra"])(
      "%s: a create that nginx answers by 504 is sent once, and perhaps charged",
      async (name) => {
        await using sandbox = await startSandbox({ plainImages: true });
        await using nginx = await startNginx(impatient(Number(new URL(sandbox.url).port)));
        sandbox.inject({ provider: name, phase: "create", ...slow });
        const client = jobClientAt(nginx.url, name, sandbox);
        const { error } = await endOf((call) => client.generate({ prompt: "A fox" }, call));
        expect(error).toMatchObject({ status: 504, charged: "unknown", retryable: false });
        expect(sandbox.jobs).toHaveLength(1);
      },
    );

    test("aigptimage: a create that nginx answers by 504 is sent again under its key, and charged once", async () => {
      await using sandbox = await startSandbox({ plainImages: true });
      await using nginx = await startNginx(impatient(Number(new URL(sandbox.url).port)));
      sandbox.inject({ provider: "aigptimage", phase: "create", ...slow });
      const client = jobClientAt(nginx.url, "aigptimage", sandbox);
      const { result } = await endOf((call) => client.generate({ prompt: "A fox" }, call));
      expect(result?.images).toHaveLength(1);
      expect(sandbox.requests.filter(({ phase }) => phase === "create")).toHaveLength(2);
      expect(sandbox.charges).toHaveLength(1);
    });

    test.each<SandboxProvider>(["shortapi", "aigptimage", "trinetra"])(
      "%s: a poll that nginx answers by 504 is asked again, and nothing is bought twice",
      async (name) => {
        await using sandbox = await startSandbox({ plainImages: true });
        await using nginx = await startNginx(impatient(Number(new URL(sandbox.url).port)));
        sandbox.inject({ provider: name, phase: "poll", ...slow });
        const client = jobClientAt(nginx.url, name, sandbox);
        const { result } = await endOf((call) => client.generate({ prompt: "A fox" }, call));
        expect(result?.images).toHaveLength(1);
        expect(sandbox.charges).toHaveLength(1);
      },
    );
  });
});
