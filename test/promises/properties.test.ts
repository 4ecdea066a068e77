import fc from "fast-check";
import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import {
  aigptimage,
  type ImageEvent,
  isImageError,
  openai,
  openaiCompatible,
  shortapi,
  trinetra,
} from "../../src/index";
import type { Outcome, Phase } from "../../src/provider";
import { ImageResult } from "../../src/result/result";
import { jumpingClock, pages, response } from "../providers/fixtures";

const providers = {
  shortapi: shortapi({ apiKey: "k" }),
  aigptimage: aigptimage({ apiKey: "k" }),
  trinetra: trinetra({ apiKey: "k" }),
  openai: openai({ apiKey: "k" }),
  gateway: openaiCompatible({ baseURL: "https://gateway.test/v1", apiKey: "k" }),
};
const everyProvider = Object.entries(providers);

/** Every name and word that an adapter looks for, so that chance finds the way into its branches. */
const names = fc.constantFrom(
  ...["code", "data", "status", "state", "id", "job_id", "taskId", "resultJson", "resultUrls"],
  ...["result", "images", "url", "b64_json", "error", "message", "msg", "info", "amount", "usage"],
  ...["success", "output", "outputs", "credits_charged", "refunded", "failMsg", "retryAfter"],
  ...["progress", "moderation_details", "categories", "__proto__", "constructor", "toString", ""],
);
const words = fc.constantFrom(
  ...["success", "succeeded", "fail", "failed", "waiting", "queued", "running", "0", "1", "2", "3"],
  ...["200", "400", "402", "409", "429", "500", "3000", "__proto__", "constructor", "moderation"],
  ...["", " ", "{", "[]", '{"resultUrls":["x"]}', "data:image/png;base64,", "recordInfo is null"],
);
const numbers = fc.constantFrom(0, 1, 2, 3, 200, 400, 422, 429, 500, 1e308, -1, 0.5);
const leaf = fc.oneof(words, numbers, fc.string(), fc.double(), fc.boolean(), fc.constant(null));

/** JSON as a server may send it: parsed from text, so that `__proto__` is a key like any other. */
const anyJson = fc
  .letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      leaf,
      fc.array(tie("value"), { maxLength: 4 }),
      fc.array(fc.tuple(names, tie("value")), { maxLength: 7 }).map(Object.fromEntries),
    ),
  }))
  .value.map((value) => JSON.parse(JSON.stringify(value) ?? "null") as unknown);

const fixtures = Object.values(pages).flatMap((page) => Object.values(page));

/** A page's response with one value somewhere in it replaced, doubled or left out. */
const mutated = fc
  .tuple(fc.constantFrom(...fixtures), fc.nat(), anyJson, fc.nat(2))
  .map(([text, where, replacement, how]) => {
    const root: unknown = JSON.parse(text);
    const places: { holder: Record<string, unknown>; key: string }[] = [];
    const walk = (value: unknown) => {
      if (typeof value !== "object" || value === null) return;
      const holder = value as Record<string, unknown>;
      for (const key of Object.keys(holder)) {
        places.push({ holder, key });
        walk(holder[key]);
      }
    };
    walk(root);
    const place = places[where % places.length];
    if (place === undefined) return replacement;
    if (how === 0) place.holder[place.key] = replacement;
    else if (how === 1) delete place.holder[place.key];
    else place.holder[place.key] = [place.holder[place.key], place.holder[place.key]];
    return root;
  });

const deep = fc.nat(3_000).map((depth) => {
  let value: unknown = "deep";
  for (let level = 0; level < depth; level += 1) value = level % 2 ? [value] : { data: value };
  return value;
});
const huge = fc
  .constantFrom("message", "info", "msg", "status", "job_id", "url", "error")
  .map((name) => ({ code: 0, [name]: "x".repeat(200_000), data: { [name]: "y".repeat(200_000) } }));
const body = fc.oneof(anyJson, mutated, deep, huge, fc.constant(undefined));
const phase = fc.constantFrom<Phase>("create", "query");
const status = fc.oneof(
  fc.constantFrom(200, 202, 400, 408, 429, 499, 500, 503, 505),
  fc.integer({ min: 100, max: 599 }),
);
const retryAfter = fc.oneof(fc.string(), fc.double().map(String), fc.constant("1e400"));
const headers = fc.record({ "retry-after": retryAfter }, { requiredKeys: [] });

const kinds = [
  ...["invalid_request", "authentication", "permission_denied", "insufficient_credits"],
  ...["rate_limited", "moderation"],
  ...["generation_failed", "malformed_response", "provider_unavailable", "submission_unknown"],
];
function expectCost(cost: unknown): void {
  if (cost === undefined) return;
  const { amount, unit, basis } = Object(cost);
  expect(Number.isFinite(amount) && amount >= 0).toBe(true);
  expect(["USD", "credits"]).toContain(unit);
  expect(["reported", "usage", "list"]).toContain(basis);
}

function expectOptionalText(...values: unknown[]): void {
  for (const value of values) expect(["string", "undefined"]).toContain(typeof value);
}

function expectWellFormed(outcome: Outcome, asked: Phase): void {
  switch (outcome.state) {
    case "queued":
    case "running":
      expect(typeof outcome.word).toBe("string");
      expect(typeof outcome.known).toBe("boolean");
      expectOptionalText(outcome.id);
      if (asked === "create") expect(outcome.id).not.toBe("");
      if (outcome.progress !== undefined) {
        expect(outcome.progress).toBeGreaterThanOrEqual(0);
        expect(outcome.progress).toBeLessThanOrEqual(1);
      }
      expectCost(outcome.cost);
      return;
    case "absent":
      expect(asked).toBe("query");
      expect(typeof outcome.message).toBe("string");
      return;
    case "succeeded":
      expect(outcome.outputs.length).toBeGreaterThan(0);
      for (const { url, base64, revisedPrompt } of outcome.outputs) {
        expect(url ?? base64).toBeTypeOf("string");
        expectOptionalText(url, base64, revisedPrompt);
      }
      for (const count of Object.values(outcome.usage ?? {})) {
        expect(Number.isFinite(count) && count >= 0).toBe(true);
      }
      expectOptionalText(outcome.model);
      expectCost(outcome.cost);
      return;
    case "refused":
    case "failed":
      expect(kinds).toContain(outcome.kind);
      expect(["no", "yes", "unknown"]).toContain(outcome.charged);
      expect(["never", "wait", "keyed"]).toContain(outcome.resend);
      expect(typeof outcome.message).toBe("string");
      expectOptionalText(outcome.code, outcome.stage);
      if (outcome.retryAfterMs !== undefined) {
        expect(outcome.retryAfterMs).toBeGreaterThanOrEqual(0);
      }
      for (const category of outcome.categories ?? []) expect(typeof category).toBe("string");
      expectCost(outcome.cost);
      return;
    default:
      throw new Error(`no outcome: ${String(outcome)}`);
  }
}

test.each(everyProvider)(
  "%s reads any JSON with any status without throwing",
  (_name, provider) => {
    fc.assert(
      fc.property(phase, status, headers, body, (asked, code, given, answered) => {
        expectWellFormed(provider.adapter.read(asked, response(code, answered, given)), asked);
      }),
      { numRuns: 300 },
    );
  },
);

test.each(everyProvider)(
  "%s never sends a create again that may have been accepted",
  (_name, provider) => {
    fc.assert(
      fc.property(status, headers, body, (code, given, answered) => {
        const outcome = provider.adapter.read("create", response(code, answered, given));
        if (outcome.state !== "refused" && outcome.state !== "failed") return;
        if (outcome.charged !== "no") expect(outcome.resend).not.toBe("wait");
      }),
      { numRuns: 300 },
    );
  },
);

test.each(everyProvider)(
  "%s never says that a 5xx without words of its own was free",
  (_name, provider) => {
    const broken = fc.integer({ min: 500, max: 599 });
    const nobodys = fc.oneof(
      fc.constant(undefined),
      anyJson.filter((value) => !isObject(value)),
    );
    fc.assert(
      fc.property(broken, nobodys, (code, answered) => {
        const outcome = provider.adapter.read("create", response(code, answered));
        expect(outcome).toMatchObject({ state: "refused", charged: "unknown" });
      }),
      { numRuns: 100 },
    );
  },
);

test.each(everyProvider)(
  "a poll of %s never says that a job was free because a poll was refused",
  (_name, provider) => {
    fc.assert(
      fc.property(status, headers, body, (code, given, answered) => {
        const outcome = provider.adapter.read("query", response(code, answered, given));
        // A provider that answers with the images has no polls.
        if (outcome.state !== "refused" || provider.adapter.query === undefined) return;
        expect(outcome.charged).not.toBe("no");
      }),
      { numRuns: 300 },
    );
  },
);

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What a server sends: bytes that may be JSON, cut off, or anything. */
const payload = fc.oneof(
  body.map((value) => JSON.stringify(value) ?? ""),
  fc.tuple(mutated, fc.nat(200)).map(([value, cut]) => String(JSON.stringify(value)).slice(0, cut)),
  fc.tuple(fc.constantFrom(...fixtures), fc.nat(200)).map(([text, cut]) => text.slice(0, cut)),
  fc.uint8Array({ maxLength: 200 }),
  fc.constantFrom("<html>502 Bad Gateway</html>", "", "null", "1e999", '{"code":1e999}'),
);

type Behaviour =
  | { readonly does: "answers"; readonly status: number; readonly payload: string | Uint8Array }
  | { readonly does: "throws" | "breaks off" | "hangs" | "stalls" };

const behaviour: fc.Arbitrary<Behaviour> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      does: fc.constant("answers" as const),
      status: fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom(200, 202) },
        { weight: 2, arbitrary: fc.integer({ min: 200, max: 599 }) },
      ),
      payload,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      does: fc.constantFrom(
        "throws" as const,
        "breaks off" as const,
        "hangs" as const,
        "stalls" as const,
      ),
    }),
  },
);

/** A good response to a create, so that polls are met with anything too. */
const accepted: Record<string, string> = {
  shortapi: '{"code":0,"data":{"job_id":"job-1","amount":"0.02"}}',
  aigptimage: pages.aigptimage.created,
  trinetra: pages.trinetra.created,
};

async function behave(does: Behaviour): Promise<Response> {
  if (does.does === "throws") throw new TypeError("fetch failed");
  if (does.does === "hangs") return new Promise(() => {});
  if (does.does !== "answers") {
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(Buffer.from('{"code":'));
        if (does.does === "breaks off") controller.error(new TypeError("terminated"));
      },
    });
    return new Response(stream);
  }
  // A status that may hold no body, or that the platform itself refuses.
  const empty = [204, 205, 304].includes(does.status);
  return new Response(empty ? null : does.payload, { status: does.status });
}

async function outcomeOf(name: string, behaviours: readonly Behaviour[], acceptFirst: boolean) {
  const provider = Object(providers)[name] as (typeof providers)["shortapi"];
  const events: ImageEvent[] = [];
  const creates: Behaviour[] = [];
  let count = 0;
  const client = new ProviderClient(
    {
      provider,
      timeoutMs: 60_000,
      attemptTimeoutMs: 5_000,
      onEvent: (event) => events.push(event),
      fetch: async (_url, init) => {
        const isCreate = init?.method === "POST";
        if (isCreate && acceptFirst && accepted[name]) return new Response(accepted[name]);
        const next = behaviours[count % behaviours.length] ?? { does: "throws" };
        count += 1;
        if (isCreate) creates.push(next);
        return behave(next);
      },
    },
    jumpingClock(),
  );
  const settled = await client.generate({ prompt: "x" }).catch((reason: unknown) => reason);
  return { settled, events, creates };
}

const behaviours = fc.array(behaviour, { minLength: 1, maxLength: 4 });

test.each(everyProvider)(
  "a client of %s ends with a result or an ImageError whatever the server does",
  async (name) => {
    await fc.assert(
      fc.asyncProperty(behaviours, fc.boolean(), async (does, acceptFirst) => {
        const { settled, events } = await outcomeOf(name, does, acceptFirst);
        if (settled instanceof ImageResult) {
          expect(settled.images.length).toBeGreaterThan(0);
          expect(events.at(-1)?.type).toBe("succeeded");
          expect(() => JSON.stringify(settled)).not.toThrow();
          return;
        }
        expect(isImageError(settled)).toBe(true);
        expect(settled).toMatchObject({
          provider: name === "gateway" ? "openai-compatible" : name,
        });
        expect(settled).toHaveProperty("job.reference.v", 1);
        expect(() => JSON.stringify(settled)).not.toThrow();
        expect(Object(settled).message.length).toBeLessThan(1_000);
      }),
      { numRuns: 150 },
    );
  },
  60_000,
);

test.each(everyProvider)(
  '%s never says "not charged" when the response to a create was lost',
  async (name) => {
    const lost = behaviour.filter(
      (each) =>
        each.does !== "answers" ||
        (each.status < 300 && typeof each.payload !== "string") ||
        (each.status >= 500 && each.status !== 503 && !String(each.payload).startsWith("{")),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(lost, { minLength: 1, maxLength: 3 }), async (does) => {
        const { settled, creates } = await outcomeOf(name, does, false);
        expect(isImageError(settled)).toBe(true);
        expect(settled).toMatchObject({ charged: "unknown", retryable: false });
        expect(creates.length).toBeGreaterThan(0);
        if (name !== "aigptimage") expect(creates).toHaveLength(1);
      }),
      { numRuns: 100 },
    );
  },
  60_000,
);

test.each(everyProvider)(
  "%s sends one create unless it was told that nothing was accepted",
  async (name) => {
    if (name === "aigptimage") return;
    await fc.assert(
      fc.asyncProperty(behaviours, async (does) => {
        const { creates } = await outcomeOf(name, does, false);
        for (const sent of creates.slice(0, -1)) {
          expect(sent.does).toBe("answers");
          if (sent.does !== "answers") continue;
          // Only a body that was read can say so with a status that says nothing.
          const said =
            sent.status < 300 ? (JSON.parse(`[${sent.payload || "null"}]`)[0] ?? {}) : {};
          expect([429, 503, 400, 409]).toContain(Number(said.code ?? sent.status));
        }
      }),
      { numRuns: 100 },
    );
  },
  60_000,
);

test.each(["constructor", "__proto__", "valueof", "isprototypeof"])(
  "a state called %s is a word that nobody knows, at every provider",
  (word) => {
    const nested = { code: 0, data: { status: word, state: word } };
    const outcomes = [
      providers.shortapi.adapter.read("query", response(200, nested)),
      providers.aigptimage.adapter.read("query", response(200, nested)),
      providers.trinetra.adapter.read("query", response(200, { status: word })),
    ];
    for (const outcome of outcomes) {
      expectWellFormed(outcome, "query");
      expect(outcome).toMatchObject({ state: "running", word, known: false });
    }
  },
);
