/** Four providers draw and edit, side by side, in a sandbox on this machine: no key, no money. */
import { resolve } from "node:path";
import {
  aigptimage,
  createImageClient,
  type EditRequest,
  type GenerateRequest,
  type ImageClient,
  type ImageEvent,
  openai,
  shortapi,
  trinetra,
} from "gpt-image-client";
import { startSandbox } from "gpt-image-client/testing";
import { type Entry, writeContactSheet } from "./quickstart/contact-sheet";
import { liveDisplay } from "./quickstart/live-display";
import { costText, isOffList, offListNote } from "./support";

const directory = "output/quickstart";
// Always the sandbox, whatever keys are set: this can never spend money.
await using sandbox = await startSandbox({ jobDurationMs: 1_500 });

// What a token costs is known of OpenAI itself; of any other address it has to be said.
const prices = { textInput: 5, imageInput: 8, imageOutput: 30 };

const ideas = [
  {
    provider: shortapi(sandbox.shortapi),
    prompt: "A dew-covered spider web at sunrise",
    change: "Make it a pencil sketch",
  },
  {
    provider: aigptimage(sandbox.aigptimage),
    prompt: "A lighthouse in fog",
    change: "Turn the lamp on",
  },
  {
    provider: trinetra(sandbox.trinetra),
    prompt: "An old street in Lisbon at dawn",
    change: "Make it snow",
  },
  {
    provider: openai({ ...sandbox.openai, prices }),
    prompt: "A paper boat on a still lake",
    change: "Add its reflection",
  },
];

console.log(`Four providers in a sandbox at ${sandbox.url}\n`);
const display = liveDisplay(
  ideas.flatMap(({ provider: { name } }) => [`${name} generate`, `${name} edit`]),
);
const startedAt = Date.now();

const entries = await Promise.all(
  ideas.map(async ({ provider, prompt, change }) => {
    const client = createImageClient({ provider });
    const original = await draw(client, { prompt, aspectRatio: "3:2" });
    // Three of them fetch their input by its URL; OpenAI takes the bytes. An image knows both.
    const edited = await draw(client, { prompt: change, images: [original.image] });
    return [original.entry, edited.entry];
  }),
);

display.end();
const totalMs = Date.now() - startedAt;
const sheet = await writeContactSheet(directory, entries.flat(), totalMs);

console.log(`
${entries.flat().length} pictures in ${(totalMs / 1000).toFixed(1)} s, in ${resolve(directory)}
Contact sheet: ${sheet}`);
if (entries.flat().some(({ cost, listed }) => isOffList(cost, listed))) console.log(offListNote);
console.log(`
Next: the real service is one line, with your key in TRINETRA_API_KEY:

  const client = createImageClient({ provider: trinetra() });

With that key set, this makes a real picture: npx tsx examples/generate.ts
The quickstart itself always stays in the sandbox, so that it can never spend money.`);

async function draw(client: ImageClient, request: GenerateRequest | EditRequest) {
  const operation = request.images === undefined ? "generate" : "edit";
  const label = `${client.name} ${operation}`;
  const options = { onEvent: (event: ImageEvent) => display.onEvent(label, event) };
  const { image, cost, timing } =
    request.images === undefined
      ? await client.generate(request, options)
      : await client.edit(request, options);
  const file = `${client.name}-${operation}.png`;
  await image.save(`${directory}/${file}`);
  const { width = 0, height = 0 } = await image.info();
  const listed = client.estimate(request);
  display.done(label, `saved, ${costText(cost, listed)}`);
  const { durationMs } = timing;
  const entry: Entry = {
    provider: client.name,
    operation,
    request,
    file,
    width,
    height,
    cost,
    listed,
    durationMs,
  };
  return { image, entry };
}
