/** One request, whoever draws it: the provider is one line, everything else stays. */
import {
  aigptimage,
  createImageClient,
  type GenerateRequest,
  openai,
  shortapi,
  trinetra,
} from "gpt-image-client";
import { costText, offListNote, printTable, startServices } from "./support";

await using services = await startServices();

// Take one, or all; the real services are `shortapi()`, `aigptimage()`, `trinetra()`, `openai()`.
const providers = [
  shortapi(services.shortapi),
  aigptimage(services.aigptimage),
  trinetra(services.trinetra),
  openai(services.openai),
];

// "3:2" reaches each provider in its own words: as a size, as a ratio, or as both.
const request: GenerateRequest = { prompt: "A lighthouse in fog, woodcut", aspectRatio: "3:2" };

const rows = await Promise.all(
  providers.map(async (provider) => {
    const client = createImageClient({ provider });
    // Nothing is sent for these two: what would be wrong with the request, and the list price.
    const problems = client.check(request);
    if (problems.length > 0) return [provider.name, problems.map(String).join(" ")];
    const estimate = client.estimate(request);

    const { image, cost } = await client.generate(request);
    const { width, height } = await image.info();
    const file = await image.save(`output/switch-provider/${provider.name}.png`);
    const estimated = estimate === undefined ? "no list price" : costText(estimate);
    return [provider.name, `${width} × ${height}`, estimated, costText(cost), file];
  }),
);

printTable([["provider", "size", "estimate", "cost", "file"], ...rows]);
console.log(offListNote);
