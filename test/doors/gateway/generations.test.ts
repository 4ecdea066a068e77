import { describe, expect, test } from "vitest";
import { GatewayStage, isPng, openaiMajors } from "./stage";

const asked = { model: "gpt-image-2", prompt: "A web", size: "1024x1024" } as const;

describe.each(openaiMajors)("generations with $name", (major) => {
  test("give the picture, what it cost and which job it was", async () => {
    await using stage = await GatewayStage.open();
    const { data, response } = await stage.openai(major).images.generate(asked).withResponse();
    expect(data.data).toHaveLength(1);
    expect(isPng(data.data?.[0]?.b64_json)).toBe(true);
    expect(data).toMatchObject({ charged: "yes", job: expect.stringMatching(/^[\da-f]{32}$/) });
    expect(data.usage?.total_tokens).toBeGreaterThan(0);
    expect(data).toMatchObject({ output_format: "png", size: "1024x1024" });
    expect(response.headers.get("x-image-job")).toBe(Reflect.get(data, "job"));
    expect(response.headers.get("content-length")).not.toBeNull();
    expect(stage.sandbox.charges).toHaveLength(1);
    expect(stage.errors).toEqual([]);
  });

  test("leave out what is null", async () => {
    await using stage = await GatewayStage.open();
    const nulls = { n: null, quality: null, stream: null } as const;
    const { data } = await stage.openai(major).images.generate({ ...asked, ...nulls });
    expect(isPng(data?.[0]?.b64_json)).toBe(true);
  });

  test("give as many pictures as were asked for", async () => {
    await using stage = await GatewayStage.open();
    const { data } = await stage.openai(major).images.generate({ ...asked, n: 3 });
    expect(data?.map(({ b64_json }) => isPng(b64_json))).toEqual([true, true, true]);
    expect(stage.creates).toBe(1);
  });

  test("are refused without a caller, and nothing is ordered", async () => {
    await using stage = await GatewayStage.open();
    const stranger = stage.openai(major, { apiKey: "another" });
    const error = await stranger.images.generate(asked).catch((each: unknown) => each);
    expect(error).toBeInstanceOf(major.OpenAI.AuthenticationError);
    expect(error).toMatchObject({ status: 401, error: { charged: "no" } });
    expect(stage.sandbox.requests).toHaveLength(0);
  });

  test("name the parameter that the provider does not take", async () => {
    await using stage = await GatewayStage.open();
    const error = await stage
      .openai(major)
      .images.generate({ ...asked, size: "100x100" as never })
      .catch((each: unknown) => each);
    expect(error).toBeInstanceOf(major.OpenAI.BadRequestError);
    expect(error).toMatchObject({ param: "size", error: { charged: "no" } });
    expect(stage.creates).toBe(0);
  });
});
