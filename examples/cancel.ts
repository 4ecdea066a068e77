/** Cancelling: you are released at once, with your own reason, and what was paid for is not lost. */
import { createImageClient, type ImageJob, trinetra } from "gpt-image-client";
import { startServices } from "./support";

await using services = await startServices();
// The response to the create takes its time, so that the abort falls into the middle of it.
services.inject({ provider: "trinetra", phase: "create", fault: "slow", delayMs: 600 });

// The real service: `provider: trinetra()`.
const client = createImageClient({ provider: trinetra(services.trinetra) });

const controller = new AbortController();
const reason = new Error("the user closed the tab");
let startedAt = 0;

const { promise: submitted, resolve: onSubmitted } = withResolver<ImageJob>();
try {
  await client.generate(
    { prompt: "A fox in tall grass" },
    {
      signal: controller.signal,
      onSubmitted,
      onEvent({ type, at }) {
        if (type !== "submitting") return;
        startedAt = at;
        setTimeout(() => controller.abort(reason), 200);
      },
    },
  );
} catch (error) {
  // Not wrapped, not renamed: the very object that was given to abort().
  if (error !== reason) throw error;
  console.log(`Released after ${Date.now() - startedAt} ms, by my own reason: ${reason.message}`);
}

// The create was on its way, and a provider cannot be told to forget it. Its response is still read:
const job = await submitted;
console.log(
  `Accepted all the same, after ${Date.now() - startedAt} ms: ${job.reference.tasks[0]?.id}`,
);

// It was paid for. Leave it, or take it: here, or anywhere that has job.reference.
const { image } = await client.resume(job.reference).result();
console.log(await image.save("output/cancel/fox.png"));

function withResolver<Value>() {
  let resolve: (value: Value) => void = () => {};
  const promise = new Promise<Value>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
