import { expect, test, vi } from "vitest";
import * as z from "zod/mini";
import { compiled } from "../../src/parse/core-schemas";
import { lenient, textOrNumber } from "../../src/provider";

const text = z.string("a text").check(z.minLength(2, "two letters"));

const schemas = {
  strict: z.strictObject(
    { name: text, count: z._default(z.int("a number"), 1), note: z.optional(text) },
    "an object",
  ),
  loose: z.looseObject({
    name: lenient(text),
    parts: z.array(lenient(z.looseObject({ id: textOrNumber }))),
    note: z.optional(z.strictObject({ text })),
  }),
  open: z.object({ name: text, note: z.optional(z.nullable(text)) }),
  refined: z
    .strictObject({ from: z.number(), to: z.number() })
    .check(z.refine(({ from, to }) => from <= to, "from before to")),
};

const values: unknown[] = [
  ...[undefined, null, 7, "text", [], new Date(0), new Map([["name", "Ada"]])],
  ...[{}, { name: "Ada" }, { name: "A" }, { name: undefined }, { name: 7, count: "7" }],
  ...[
    { name: "Ada", count: 2, note: "so" },
    { name: "Ada", count: 0.5, note: "s", more: [1] },
  ],
  ...[
    { note: "so", name: "Ada" },
    { name: "Ada", note: undefined },
    { name: "Ada", note: null },
  ],
  ...[{ parts: [] }, { parts: [{ id: 1 }, { id: {} }, "no"], name: "", more: { deep: true } }],
  ...[{ parts: [], note: {} }, { parts: [], note: { text: "so", more: 1 } }, { parts: {} }],
  ...[{ from: 1, to: 2 }, { from: 2, to: 1 }, { from: "1" }],
  JSON.parse('{ "name": "Ada", "__proto__": { "name": "Eve" }, "constructor": 1 }'),
  Object.create({ name: "Ada" }),
];

test.each<[string, z.core.$ZodObject]>(Object.entries(schemas))(
  "a compiled schema finds what the schema finds (%s)",
  (_, schema) => {
    const fast = compiled(schema);
    const outcomes = values.map((value) => z.safeParse(schema, value));
    expect(values.map((value) => z.safeParse(fast, value))).toEqual(outcomes);
    // Both kinds, or it would compare nothing.
    expect(new Set(outcomes.map(({ success }) => success)).size).toBe(2);
    const keys = outcomes.map(({ data }) => Object.keys(data ?? {}));
    expect(values.map((value) => Object.keys(z.safeParse(fast, value).data ?? {}))).toEqual(keys);
  },
);

test("a compiled schema stands within others, and has the shape of its own", () => {
  const fast = compiled(schemas.strict);
  const list = z.array(fast);
  expect(z.parse(list, [{ name: "Ada" }])).toEqual([{ name: "Ada", count: 1 }]);
  expect(z.safeParse(list, [{ name: "Ada" }, { name: "A" }]).error?.issues).toMatchObject([
    { path: [1, "name"], message: "two letters" },
  ]);
  expect(Object.keys(fast._zod.def.shape)).toEqual(["name", "count", "note"]);
});

test("a compiled schema is read by a function that is made at its first use", () => {
  const { Function: original } = globalThis;
  let made = 0;
  const counted = new Proxy(original, {
    construct: (target, given) => {
      made += 1;
      return Reflect.construct(target, given);
    },
  });
  const fast = compiled(schemas.strict);
  vi.stubGlobal("Function", counted);
  try {
    for (let count = 0; count < 3; count += 1) z.safeParse(fast, { name: "Ada" });
  } finally {
    vi.unstubAllGlobals();
  }
  expect(made).toBe(1);
});
