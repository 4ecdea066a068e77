import { HttpResponse, http } from "msw";
import { setupServer } from "msw/node";
import { expect, test } from "vitest";
import { type Clock, systemClock } from "../src/async/clock";
import { ProviderClient } from "../src/client";
import type { Cost } from "../src/cost";
import type { Provider, ProviderResponse } from "../src/provider";
import type { ImageInput } from "../src/request/request";
import type { ImageEvent } from "../src/types";
import { type Arrived, pixel, startServer } from "./support/server";
import { failureOf, prompt, typesOf } from "./support/stage";

/** What a provider answers, as its page shows it. */
export interface Reply {
  readonly status?: number;
  /** An object goes out as JSON, a string as it is, bytes as an image. */
  readonly body: object | string | Buffer;
}

/** What the suite must know of a provider; what is left out, the provider cannot do. */
export interface Subject {
  provider(baseURL: string): Provider;
  /** The header that carries the key, as it must arrive. */
  readonly key: { readonly header: string; readonly value: string };
  readonly createPath: string;
  readonly editPath?: string;
  /** The entry of `providerOptions` that it parses. */
  readonly optionsName: string;
  readonly maxImagesPerTask: number;
  /** The response to a create, for a provider with jobs; otherwise the response with the images. */
  accepted(urls: readonly string[]): Reply;
  /** What its queries answer, for a provider with jobs. */
  readonly job?: {
    /** The id in `accepted`. */
    readonly id: string;
    readonly queryPath: string;
    readonly running: Reply;
    succeeded(urls: readonly string[]): Reply;
    readonly failed: Reply;
  };
  /** A refusal of the request as invalid, and the words in it. */
  readonly refused: Reply & { readonly words: string };
  readonly unauthorized: Reply;
  /** A success that holds no image: of the query where there is one, else of the create. */
  readonly empty: Reply;
  /** What a result says that one image cost. */
  readonly cost?: Cost;
  /** What an estimate of one image says. */
  readonly estimate?: Cost;
  /** Inputs that it takes for an edit, and what must then stand in the create. */
  readonly edit?: { readonly images: readonly ImageInput[]; readonly sent: string | RegExp };
}

interface Wire extends AsyncDisposable {
  readonly baseURL: string;
  readonly requests: readonly Arrived[];
  readonly fetch?: typeof globalThis.fetch;
}

type Answering = (request: Arrived, baseURL: string) => Reply;

async function overSockets(reply: Answering): Promise<Wire> {
  const server = await startServer((request, response) => {
    const { status = 200, body } = reply(request, server.url);
    const isImage = Buffer.isBuffer(body);
    const isJson = typeof body === "object" && !isImage;
    const type = isImage ? "image/png" : "application/json";
    response.writeHead(status, { "content-type": type });
    response.end(isJson ? JSON.stringify(body) : body);
  });
  return {
    baseURL: server.url,
    requests: server.requests,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function overFetch(reply: Answering): Promise<Wire> {
  const baseURL = "https://provider.example";
  const requests: Arrived[] = [];
  const server = setupServer(
    http.all(`${baseURL}/*`, async ({ request }) => {
      const url = new URL(request.url);
      const arrived = {
        method: request.method,
        path: url.pathname + url.search,
        headers: Object.fromEntries(request.headers),
        body: await request.text(),
      };
      requests.push(arrived);
      const { status = 200, body } = reply(arrived, baseURL);
      if (Buffer.isBuffer(body)) {
        const bytes = new Uint8Array(body);
        return new HttpResponse(bytes, { status, headers: { "content-type": "image/png" } });
      }
      const text = typeof body === "string" ? body : JSON.stringify(body);
      return new HttpResponse(text, { status, headers: { "content-type": "application/json" } });
    }),
  );
  server.listen({ onUnhandledRequest: "error" });
  return {
    baseURL,
    requests,
    fetch: (...given) => globalThis.fetch(...given),
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
}

const wires = { "real sockets": overSockets, "fetch, seen by msw": overFetch } as const;

/** Waits between attempts pass fast; time-outs are left as they are. */
const hurried: Clock = {
  now: () => systemClock.now(),
  wallTime: () => systemClock.wallTime(),
  after: (delayMs, callback) =>
    systemClock.after(delayMs < 20_000 ? Math.min(delayMs, 5) : delayMs, callback),
};

/** Everything that every adapter must do, over both transports. */
export function contractSuite(name: string, makeSubject: () => Subject): void {
  const subject = makeSubject();
  const { job } = subject;
  const urlsOf = (baseURL: string, count: number) =>
    Array.from({ length: count }, (_, index) => `${baseURL}/pictures/${index}.png`);

  /** Behaves as the page says: one more "running" before each success. */
  const behaving = (count: number): Answering => {
    const asked = new Set<string>();
    return (request, baseURL) => {
      if (request.path.startsWith("/pictures/")) return { body: pixel };
      if (request.method === "POST") return subject.accepted(urlsOf(baseURL, count));
      if (job === undefined) throw new Error("there is nothing to query");
      if (asked.has(request.path)) return job.succeeded(urlsOf(baseURL, count));
      asked.add(request.path);
      return job.running;
    };
  };
  const isCreate = (request: Arrived) => request.method === "POST";
  const isPicture = (request: Arrived) => request.path.startsWith("/pictures/");
  const isQuery = (request: Arrived) => !isCreate(request) && !isPicture(request);

  for (const [transport, open] of Object.entries(wires)) {
    const contract = (
      title: string,
      work: (play: (reply: Answering) => Promise<Stage>) => Promise<void>,
    ) =>
      test(`${name} over ${transport}: ${title}`, async () => {
        const opened: Wire[] = [];
        try {
          await work(async (reply) => {
            const wire = await open(reply);
            opened.push(wire);
            const { baseURL, fetch, requests } = wire;
            const provider = subject.provider(baseURL);
            const options = { provider, poll: 5, ...(fetch !== undefined && { fetch }) };
            return {
              baseURL,
              requests,
              client: new ProviderClient(options, hurried),
              creates: () => requests.filter(isCreate),
              queries: () => requests.filter(isQuery),
              pictures: () => requests.filter(isPicture),
            };
          });
        } finally {
          for (const wire of opened) await wire[Symbol.asyncDispose]();
        }
      });

    contract("generates an image, and its key goes along with API calls alone", async (play) => {
      const { client, requests, creates, queries, pictures } = await play(behaving(1));
      const { image, images, provider, warnings } = await client.generate({ prompt });
      expect(images).toHaveLength(1);
      expect(provider).toBe(client.name);
      expect(warnings).toEqual([]);
      expect(pixel.equals(await image.bytes())).toBe(true);
      expect(await image.info()).toMatchObject({ mediaType: "image/png", width: 1, height: 1 });
      expect(creates()).toHaveLength(1);
      expect(creates()[0]?.path).toBe(subject.createPath);
      expect(JSON.stringify(JSON.parse(creates()[0]?.body ?? ""))).toContain(prompt);
      expect(queries().map(({ path }) => path)).toEqual(
        job === undefined ? [] : [job.queryPath, job.queryPath],
      );
      for (const request of requests) {
        expect(request.headers[subject.key.header]).toBe(
          isPicture(request) ? undefined : subject.key.value,
        );
        const elsewhere = { ...request.headers, [subject.key.header]: undefined };
        expect(JSON.stringify([request.path, request.body, elsewhere])).not.toContain("a-key-of");
      }
      if (image.url !== undefined) expect(pictures()).toHaveLength(1);
    });

    contract("splits what one native request cannot yield", async (play) => {
      const n = subject.maxImagesPerTask + 1;
      let created = 0;
      const { client, creates } = await play((request, baseURL) => {
        const isFirst = job === undefined ? created === 0 : true;
        if (isCreate(request)) created += 1;
        return behaving(isFirst ? subject.maxImagesPerTask : 1)(request, baseURL);
      });
      expect(client.capabilities.generate.maxImagesPerTask).toBe(subject.maxImagesPerTask);
      const submitted = await client.submit({ prompt, n });
      expect(creates()).toHaveLength(2);
      expect(submitted.reference.tasks.map((task) => task.n)).toEqual([
        subject.maxImagesPerTask,
        1,
      ]);
    });

    contract("edits where it can, and refuses before sending where it cannot", async (play) => {
      const { client, creates } = await play(behaving(1));
      if (subject.edit === undefined) {
        expect(client.capabilities.edit).toBeUndefined();
        const error = await failureOf(client.edit({ prompt, images: [pixel] }));
        expect(error).toMatchObject({ name: "UnsupportedError", field: "images" });
        expect(creates()).toHaveLength(0);
        return;
      }
      const { images } = await client.edit({ prompt, images: subject.edit.images });
      expect(images).toHaveLength(1);
      expect(creates()).toHaveLength(1);
      expect(creates()[0]?.path).toBe(subject.editPath ?? subject.createPath);
      const { sent } = subject.edit;
      if (typeof sent === "string") expect(creates()[0]?.body).toContain(sent);
      else expect(creates()[0]?.body).toMatch(sent);
      expect(creates()[0]?.body).toContain(prompt);
      const none = await failureOf(client.edit({ prompt, images: [] }));
      expect(none).toMatchObject({ name: "InvalidRequestError", field: "images" });
      expect(creates()).toHaveLength(1);
    });

    contract("says what it cost, as far as it is known", async (play) => {
      const { client } = await play(behaving(1));
      const { cost } = await client.generate({ prompt });
      expect(cost).toEqual(subject.cost);
      expect(client.estimate({ prompt })).toEqual(subject.estimate);
    });

    contract("a refusal is sent once, not charged, and has the provider's words", async (play) => {
      const { client, requests } = await play(() => subject.refused);
      const error = await failureOf(client.generate({ prompt }));
      expect(error).toMatchObject({ name: "InvalidRequestError", charged: "no" });
      expect(error.message).toContain(subject.refused.words);
      expect(error.provider).toBe(client.name);
      expect(requests).toHaveLength(1);
    });

    contract("a wrong key is an AuthenticationError after one request", async (play) => {
      const { client, requests } = await play(() => subject.unauthorized);
      const error = await failureOf(client.generate({ prompt }));
      expect(error).toMatchObject({ name: "AuthenticationError", charged: "no" });
      expect(requests).toHaveLength(1);
    });

    contract("a create whose response is no JSON is sent again under a key alone", async (play) => {
      const { client, creates } = await play(() => ({ body: '{"half":' }));
      const error = await failureOf(client.generate({ prompt }));
      expect(error).toMatchObject({ name: "MalformedResponseError", charged: "unknown" });
      expect(error.job?.reference.tasks).toMatchObject([{ state: "unknown" }]);
      expect(creates()).toHaveLength(client.capabilities.idempotent ? 5 : 1);
      // Every attempt sends the same, to the letter.
      const sent = creates().map(({ path, headers, body }) =>
        JSON.stringify({ path, headers, body }),
      );
      expect(new Set(sent).size).toBe(1);
    });

    contract("a success without an image is an error that was charged", async (play) => {
      const { client, creates } = await play((request, baseURL) =>
        job !== undefined && isCreate(request)
          ? subject.accepted(urlsOf(baseURL, 1))
          : subject.empty,
      );
      const error = await failureOf(client.generate({ prompt }));
      expect(error).toMatchObject({ name: "MalformedResponseError", charged: "yes" });
      expect(creates()).toHaveLength(1);
    });

    contract("an option that it does not know is named, and nothing is sent", async (play) => {
      const { client, requests } = await play(behaving(1));
      const { optionsName } = subject;
      const providerOptions = { [optionsName]: { noSuchOption: 1 } };
      expect(client.check({ prompt, providerOptions })).toMatchObject([
        { name: "InvalidRequestError", field: `providerOptions.${optionsName}.noSuchOption` },
      ]);
      const error = await failureOf(client.generate({ prompt, providerOptions }));
      expect(error).toMatchObject({ name: "InvalidRequestError", charged: "no" });
      // What belongs to another built-in provider is left alone, and nobody's is refused.
      const others = ["shortapi", "aigptimage", "trinetra"].filter((each) => each !== optionsName);
      const foreign = Object.fromEntries(others.map((each) => [each, { x: 1 }]));
      expect(client.check({ prompt, providerOptions: foreign })).toEqual([]);
      expect(client.check({ prompt, providerOptions: { somebodyElse: { x: 1 } } })).toMatchObject([
        { name: "UnsupportedError", field: "providerOptions.somebodyElse" },
      ]);
      const misspelt = { prompt, promt: "x" };
      expect(client.check(misspelt)).toMatchObject([{ field: "promt" }]);
      expect(requests).toHaveLength(0);
    });

    contract("events come in order, each with provider, job and task", async (play) => {
      const { client } = await play(behaving(1));
      const events: ImageEvent[] = [];
      const onEvent = (event: ImageEvent) => events.push(event);
      const result = await client.generate({ prompt }, { onEvent });
      expect(typesOf(events)).toEqual(
        job === undefined
          ? ["submitting", "succeeded"]
          : ["submitting", "submitted", "status", "succeeded"],
      );
      for (const event of events) {
        expect(event).toMatchObject({ provider: client.name, jobId: result.job.id, task: 0 });
      }
      expect(events.find((event) => event.type === "status")?.known ?? true).toBe(true);
    });

    if (job === undefined) {
      contract("a job cannot be resumed, and says so", async (play) => {
        const { client } = await play(behaving(1));
        const { job: done } = await client.generate({ prompt });
        expect(client.capabilities.resumable).toBe(false);
        expect(() => client.resume(done.reference)).toThrow(
          expect.objectContaining({ name: "UnsupportedError", charged: "no" }),
        );
      });
    } else {
      contract("a job is resumed from its JSON, with one poll for its status", async (play) => {
        const { client, creates, queries } = await play(behaving(1));
        expect(client.capabilities.resumable).toBe(true);
        const submitted = await client.submit({ prompt });
        const text = JSON.stringify(submitted);
        expect(text).not.toContain("a-key-of");
        expect(text).not.toContain(prompt);
        expect(JSON.parse(text).tasks).toMatchObject([{ id: job.id, state: "queued" }]);
        const resumed = client.resume(text);
        expect(queries()).toHaveLength(0);
        expect(await resumed.status()).toMatchObject({ settled: false });
        expect(queries()).toHaveLength(1);
        const { image } = await resumed.result();
        expect(pixel.equals(await image.bytes())).toBe(true);
        expect(creates()).toHaveLength(1);
      });

      contract("a job that failed is an error with the job, asked for once", async (play) => {
        const { client, creates, queries } = await play((request, baseURL) =>
          isCreate(request) ? subject.accepted(urlsOf(baseURL, 1)) : job.failed,
        );
        const error = await failureOf(client.generate({ prompt }));
        expect(error.name).toBe("GenerationFailedError");
        expect(error.job?.reference.tasks).toMatchObject([{ id: job.id, state: "failed" }]);
        expect([creates().length, queries().length]).toEqual([1, 1]);
      });

      contract("a poll that is no JSON is one more poll", async (play) => {
        let broken = 2;
        const behave = behaving(1);
        const { client, creates, queries } = await play((request, baseURL) => {
          if (isQuery(request) && broken > 0) {
            broken -= 1;
            return { body: "<html>" };
          }
          return behave(request, baseURL);
        });
        expect((await client.generate({ prompt })).images).toHaveLength(1);
        expect([creates().length, queries().length]).toEqual([1, 4]);
      });
    }
  }

  test(`${name}: its adapter reads whatever comes without throwing, and takes none of it for an image`, () => {
    const { adapter } = subject.provider("https://provider.example");
    const bodies: unknown[] = [
      ...[undefined, null, 0, true, "", "text", [], [[]], {}, { data: null }, { data: [] }],
      ...[{ data: {} }, { data: { status: {} } }, { status: null }, { error: null }, { code: {} }],
      ...[{ data: { state: 1, resultJson: "{" } }, { output: [] }, { id: 7 }, { job_id: "" }],
    ];
    for (const phase of ["create", "query"] as const) {
      for (const status of [200, 202, 204, 301, 400, 404, 429, 500, 503]) {
        for (const body of bodies) {
          const reply: ProviderResponse = { status, headers: {}, body, receivedAt: 0 };
          const outcome = adapter.read(phase, reply);
          expect(outcome.state).not.toBe("succeeded");
          if (outcome.state === "queued" || outcome.state === "running") {
            // A create is accepted by nothing but an id that is not empty.
            if (phase === "create") expect(outcome.id).toMatch(/./);
          }
          if (
            outcome.state === "refused" &&
            phase === "create" &&
            status >= 500 &&
            status !== 503
          ) {
            expect(outcome.charged).toBe("unknown");
          }
        }
      }
    }
  });
}

interface Stage {
  readonly client: ProviderClient;
  readonly baseURL: string;
  readonly requests: readonly Arrived[];
  creates(): Arrived[];
  queries(): Arrived[];
  pictures(): Arrived[];
}

/** The provider functions that have no subject; the suite must have one for each. */
export function withoutSubject(
  exported: Readonly<Record<string, unknown>>,
  subjects: Readonly<Record<string, unknown>>,
): string[] {
  return Object.entries(exported).flatMap(([name, value]) =>
    typeof value === "function" && !Object.hasOwn(subjects, name) ? [name] : [],
  );
}
