/** A budget that ends in the middle of a batch: what was ordered is kept, and the rest is told when. */
import { createImageClient, isImageError, shortapi } from "gpt-image-client";
import { createImageRouter } from "gpt-image-client/router";
import { startSandbox } from "gpt-image-client/testing";

// The service, played on this machine. The real one: `shortapi()`.
await using sandbox = await startSandbox();
await using router = createImageRouter({
  clients: [createImageClient({ provider: shortapi(sandbox.shortapi) })],
  // ShortAPI lists 0.06 USD a picture: five of them.
  budget: [{ amount: 0.3, unit: "USD", per: "day", tags: { team: "web" } }],
});

const tags = { team: "web" };
const works = Array.from({ length: 8 }, async (_, index) => {
  const { image } = await router.generate({ prompt: `A fox, take ${index + 1}` }, { tags });
  return image.save(`output/budget/${index + 1}.png`);
});
for (const end of await Promise.allSettled(works)) {
  if (end.status === "fulfilled") console.log(end.value);
  else if (isImageError(end.reason) && end.reason.code === "budget_exceeded") {
    const { left, renewsAt } = end.reason;
    console.log(`not ordered: ${left?.amount} ${left?.unit} left until ${renewsAt?.toISOString()}`);
  } else throw end.reason;
}

const [status] = await router.budgets();
console.log(`charged ${status?.charged} of ${status?.amount} ${status?.unit}`);
console.log(`Bought: ${sandbox.charges.length}`);
