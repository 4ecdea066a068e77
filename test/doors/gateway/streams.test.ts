import { SubmissionUnknownError } from "gpt-image-client";
import { fakeImageClient } from "gpt-image-client/testing";
import { describe, expect, test } from "vitest";
import { Gateway } from "../../../src/doors/gateway/gateway";
import { settled, TestClock } from "./clock";
import { authorize, GatewayStage, isPng, openaiMajors } from "./stage";

const asked = { model: "gpt-image-2", prompt: "A web", size: "1024x1024" } as const;

describe.each(openaiMajors)("a stream with $name", (major) => {
  test("without partial images ends in one completed event a picture", async () => {
    await using stage = await GatewayStage.open();
    const openai = stage.openai(major);
    const stream = await openai.images.generate({
      ...{ ...asked, n: 2, stream: true },
    });
    const events = [];
    for await (const event of stream) events.push(event);
    expect(events.map(({ type }) => type)).toEqual([
      ...["image_generation.completed", "image_generation.completed"],
    ]);
    for (const event of events) {
      expect(isPng(event.b64_json)).toBe(true);
      expect(event).toMatchObject({ charged: "yes", output_format: "png", size: "1024x1024" });
    }
    expect(stage.sandbox.charges).toHaveLength(1);
  });

  test("that is refused at once has a status, and throws", async () => {
    await using stage = await GatewayStage.open();
    stage.sandbox.inject({
      ...{ provider: "openaiCompatible", phase: "create", fault: "reset-after-acceptance" },
    });
    const error = await stage
      .openai(major)
      .images.generate({ ...asked, stream: true })
      .catch((each: unknown) => each);
    expect(error).toMatchObject({ status: 424, error: { charged: "unknown" } });
    expect(stage.sandbox.charges).toHaveLength(1);
  });
});

/** A gateway whose time the test moves, and whose client waits for the test. */
function heldGateway(options: object = {}) {
  const clock = new TestClock();
  const fake = fakeImageClient();
  const ends: ((error?: Error) => void)[] = [];
  const client: typeof fake = {
    ...fake,
    generate: (request) =>
      new Promise((resolve, reject) => {
        ends.push((error) =>
          error === undefined ? resolve(fake.generate(request)) : reject(error),
        );
      }),
  };
  const gateway = new Gateway({ models: { m: client }, authorize, ...options }, clock);
  const ask = (body: object) =>
    gateway.fetch(
      new Request("http://gateway/v1/images/generations", {
        method: "POST",
        headers: { authorization: "Bearer key-of-anna", "content-type": "application/json" },
        body: JSON.stringify({ prompt: "A web", ...body }),
      }),
    );
  const begun = async () => {
    while (ends.length === 0) await settled();
  };
  return { clock, ask, end: (error?: Error) => ends[0]?.(error), begun };
}

/** Reads what comes while time passes. */
async function readWhile(response: Promise<Response>, pass: () => Promise<void>): Promise<string> {
  const reader = (await response).body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const reading = (async () => {
    for (;;) {
      const { value = "", done = true } = (await reader?.read()) ?? {};
      text += value;
      if (done) return;
    }
  })();
  await settled();
  await pass();
  await reading;
  return text;
}

describe("a stream that takes long", () => {
  test("has a comment every 10 s, and then its picture", async () => {
    const { clock, ask, end, begun } = heldGateway();
    const response = ask({ stream: true });
    await begun();
    await clock.pass(10_000);
    expect((await response).headers.get("content-type")).toContain("text/event-stream");
    expect((await response).headers.get("x-image-job")).toMatch(/^[\da-f]{32}$/);
    const text = await readWhile(response, async () => {
      await clock.pass(30_000);
      end();
    });
    expect(text.match(/^: keep-alive$/gm)).toHaveLength(4);
    expect(text).toContain('data: {"type":"image_generation.completed","b64_json":"iVBOR');
  });

  test("and fails ends in an error event with what was charged", async () => {
    const { clock, ask, end, begun } = heldGateway();
    const response = ask({ stream: true });
    await begun();
    await clock.pass(10_000);
    const text = await readWhile(response, async () =>
      end(new SubmissionUnknownError({ charged: "unknown" })),
    );
    const [, data = ""] = /event: error\ndata: (.*)\n\n$/.exec(text) ?? [];
    expect(JSON.parse(data)).toMatchObject({
      error: { charged: "unknown", code: "submission_unknown", job: expect.any(String) },
    });
  });
});

describe("JSON that takes long", () => {
  test("sends nothing before its end unless white space is asked for", async () => {
    const { clock, ask, end, begun } = heldGateway();
    let isThere = false;
    const response = ask({}).then((each) => {
      isThere = true;
      return each;
    });
    await begun();
    await clock.pass(600_000);
    expect(isThere).toBe(false);
    end();
    expect((await response).status).toBe(200);
  });

  test("is kept alive by white space, which is JSON still", async () => {
    const { clock, ask, end, begun } = heldGateway({ whitespaceEveryMs: 30_000 });
    const response = ask({});
    await begun();
    await clock.pass(30_000);
    const text = await readWhile(response, async () => {
      await clock.pass(60_000);
      end();
    });
    expect(text).toMatch(/^ {3}\{/);
    expect(JSON.parse(text).data).toHaveLength(1);
  });

  test("that fails after white space says so under the 200 that was sent", async () => {
    const { clock, ask, end, begun } = heldGateway({ whitespaceEveryMs: 30_000 });
    const response = ask({});
    await begun();
    await clock.pass(30_000);
    const text = await readWhile(response, async () =>
      end(new SubmissionUnknownError({ charged: "unknown" })),
    );
    expect((await response).status).toBe(200);
    expect(JSON.parse(text)).toMatchObject({ error: { charged: "unknown" } });
  });
});

test("the models are listed, for callers alone", async () => {
  await using stage = await GatewayStage.open();
  const [major] = openaiMajors;
  if (major === undefined) throw new Error("no major of openai");
  const { data } = await stage.openai(major).models.list();
  expect(data).toEqual([
    { id: "gpt-image-2", object: "model", created: 0, owned_by: "openai-compatible" },
  ]);
  expect((await fetch(`${stage.baseURL}/models`)).status).toBe(401);
});
