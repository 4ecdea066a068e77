/**
 * The AI SDK with one line changed: `generateImage` stays, and each order is bought once, whatever
 * happens on the way. The same for `ai` 6 and 7.
 */
import { createProviderRegistry, generateImage } from "ai";
import { createImageClient, isImageError, openai, trinetra } from "gpt-image-client";
import {
  createImageProvider,
  imageMetadata,
  imageModel,
  imageOptions,
} from "gpt-image-client/ai-sdk";
import { startSandbox } from "gpt-image-client/testing";
import { costText } from "./support";

// Both services, played on this machine. The real ones: `openai()` and `trinetra()`.
await using sandbox = await startSandbox();
const byTokens = createImageClient({ provider: openai(sandbox.openai) });
const byCredits = createImageClient({ provider: trinetra(sandbox.trinetra) });

const { image } = await generateImage({
  // Was: openai.image("gpt-image-2")
  model: imageModel(byTokens),
  prompt: "A dew-covered web at sunrise",
  size: "1536x1024",
});
console.log(`${image.mediaType}, ${image.uint8Array.byteLength} bytes`);

// What generateImage has no argument for, and a registry that any part of an app can ask.
const images = createImageProvider({ draft: byTokens, final: byCredits });
const registry = createProviderRegistry({ images });
const pair = await generateImage({
  model: registry.imageModel("images:final"),
  prompt: "A lighthouse on a cliff, storm clouds, oil painting",
  n: 2,
  aspectRatio: "3:2",
  providerOptions: imageOptions({
    quality: "low",
    saveTo: "output/ai-sdk",
    // Three lines of this are a journal: should this process die now, the job can be taken up again.
    onSubmitted: (job) => console.log(`accepted: ${job.id}`),
  }),
});
const entries = imageMetadata(pair);
console.log(entries.map(({ file }) => file).join("\n"));
// What the whole call cost stands with its first image.
console.log(costText(entries[0]?.cost));

// Accepted and billed, and its response lost on the way. The SDK's own provider sends this three times.
sandbox.inject({
  ...{ provider: "openaiCompatible", phase: "create", times: 3 },
  fault: "reset-after-acceptance",
});
const before = sandbox.charges.length;
try {
  await generateImage({ model: imageModel(byTokens), prompt: "A harbour at noon" });
} catch (error) {
  if (!isImageError(error)) throw error;
  console.log(`${error.name}, charged: ${error.charged}`);
}
console.log(`Bought: ${sandbox.charges.length - before}`);
