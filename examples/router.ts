/**
 * Three providers as one: the first is empty, the second has its limit for the minute, the third is slow.
 * The pictures come all the same, each is bought once, and the ledger says what they cost.
 */
import { createImageClient, openai, shortapi, trinetra } from "gpt-image-client";
import { createImageRouter, memoryLedger } from "gpt-image-client/router";
import { startSandbox } from "gpt-image-client/testing";
import { printTable } from "./support";

// All three services, played on this machine. The real ones: `trinetra()`, `shortapi()`, `openai()`.
await using sandbox = await startSandbox();
sandbox.inject({
  ...{ provider: "trinetra", phase: "create", fault: "refusal", times: 1 },
  ...{ status: 402, message: "insufficient credits" },
});
sandbox.inject({
  ...{ provider: "shortapi", phase: "create", fault: "rate-limited", times: 1 },
  retryAfterSeconds: 60,
});
sandbox.inject({
  ...{ provider: "openaiCompatible", phase: "create", fault: "slow", times: 1 },
  delayMs: 1_500,
});

const ledger = memoryLedger();
await using router = createImageRouter({
  clients: [
    createImageClient({ provider: trinetra(sandbox.trinetra) }),
    createImageClient({ provider: shortapi(sandbox.shortapi) }),
    // Whose prices are known at its own address alone, and not at the sandbox's.
    createImageClient({
      provider: openai({
        ...sandbox.openaiCompatible,
        prices: { textInput: 5, imageInput: 8, imageOutput: 30 },
      }),
    }),
  ],
  ledger,
  onRoute: (event) => {
    if (event.type === "fallback") console.log(`${event.client}: ${event.error.code}`);
    if (event.type === "cooling") console.log(`${event.client} rests for ${event.forMs / 1000} s`);
  },
});

const subjects = ["a fox", "a lighthouse", "a paper boat"];
for (const [index, subject] of subjects.entries()) {
  const prompt = `${subject}, oil painting`;
  const { image, provider } = await router.generate({ prompt });
  console.log(`${provider}: ${await image.save(`output/router/${index + 1}.png`)}`);
}

const rows = await ledger.totals({ by: ["client", "state"] });
printTable([
  ["client", "state", "orders", "cost"],
  ...rows.map(({ group, orders, charged, unit = "not known" }) => [
    ...[group.client ?? "", group.state ?? "", String(orders)],
    `${charged} ${unit}`,
  ]),
]);
console.log(`Bought: ${sandbox.charges.length}`);
