import type { ParseArgsConfig } from "node:util";

type Options = NonNullable<ParseArgsConfig["options"]>;

const text = { type: "string" } as const;
const yes = { type: "boolean" } as const;

const provider = { provider: { ...text, short: "p" }, "base-url": text, model: text };

const request = {
  count: { ...text, short: "n" },
  size: text,
  "aspect-ratio": text,
  resolution: text,
  quality: text,
  background: text,
  format: text,
  compression: text,
  moderation: text,
  user: text,
  stream: yes,
} as const;

const inputs = { image: { ...text, short: "i", multiple: true }, mask: text } as const;

const common = { help: { ...yes, short: "h" }, state: text } as const;

const order = {
  ...{ ...provider, ...request, ...common },
  "prompt-file": text,
  output: { ...text, short: "o" },
  concurrency: text,
  "max-cost": text,
  timeout: text,
  "omit-unsupported": yes,
  json: yes,
  events: yes,
  sheet: yes,
} as const;

const taking = {
  output: { ...text, short: "o" },
  timeout: text,
  json: yes,
  events: yes,
} as const;

/** What each command takes. */
export const optionsOf = {
  generate: order,
  edit: { ...order, ...inputs },
  estimate: { ...provider, ...request, ...inputs, help: common.help, json: yes },
  providers: { help: common.help, json: yes },
  jobs: { ...common, json: yes },
  resume: { ...common, ...taking },
  recover: { ...common, ...taking },
  costs: {
    ...common,
    ...{ by: text, from: text, to: text, csv: yes, json: yes },
    ...{ charged: text, cost: text, "task-id": text },
  },
  batch: {
    ...{ ...provider, ...common },
    output: { ...text, short: "o" },
    concurrency: text,
    "max-cost": text,
    timeout: text,
    name: text,
    json: yes,
  },
  serve: { ...provider, ...common, port: text },
  sandbox: { help: common.help, port: text, "job-time": text },
} as const satisfies Record<string, Options>;

export type CommandName = keyof typeof optionsOf;
