/** A picture from words: one call, one file. */
import { createImageClient, trinetra } from "gpt-image-client";
import { costText, startServices } from "./support";

await using services = await startServices();

// The real service is this one line with nothing in the brackets: `provider: trinetra()`.
const client = createImageClient({ provider: trinetra(services.trinetra) });

const { image, cost, timing } = await client.generate({
  prompt: "A dew-covered spider web at sunrise",
  aspectRatio: "3:2",
  quality: "medium",
});

const file = await image.save("output/generate/web.png");
// The type and the size are what the bytes say, not what was asked for.
const { mediaType, width, height } = await image.info();

console.log(`${mediaType}, ${width} × ${height}, ${costText(cost)}, ${timing.durationMs} ms`);
console.log(file);
