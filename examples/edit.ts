/** A picture from a picture: from one made before, or from a file on this machine. */
import { createImageClient, localFile, openai, trinetra } from "gpt-image-client";
import { costText, startServices } from "./support";

await using services = await startServices();

// The real services: `trinetra()` and `openai()`.
const byUrl = createImageClient({ provider: trinetra(services.trinetra) });
const byFile = createImageClient({ provider: openai(services.openai) });

const original = await byUrl.generate({ prompt: "An old street in Lisbon, quiet, early morning" });
const photo = await original.image.save("output/edit/street.png");

// Trinetra fetches its input itself: the image of a result goes by its URL.
const snowy = await byUrl.edit({ prompt: "Make it snow", images: [original.image] });

// OpenAI takes the bytes. A path has to go through localFile(): were plain strings paths, then a
// string from your own users could name any file on your server.
const nightly = await byFile.edit({ prompt: "Make it night", images: [localFile(photo)] });

console.log(photo);
console.log(await snowy.image.save("output/edit/street-in-snow.png"), costText(snowy.cost));
console.log(await nightly.image.save("output/edit/street-by-night.png"), costText(nightly.cost));
