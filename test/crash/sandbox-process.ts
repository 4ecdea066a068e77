/** The sandbox in a process of its own: no crash of a worker touches its books. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { SandboxFault } from "../../src/testing/sandbox";
import { startSandbox } from "../../src/testing/sandbox";
import { type Ledger, tagsIn } from "./plan";

const jobDurationMs = Number(process.argv[2] ?? 60);
const sandbox = await startSandbox({ jobDurationMs, plainImages: true });

function ledger(): Ledger {
  const creates = sandbox.requests.flatMap(({ provider, phase, body, jobId }) =>
    phase === "create" && provider !== "cdn" && provider !== "unknown"
      ? [{ provider, tag: tagsIn(body)[0] ?? "none", ...(jobId !== undefined && { jobId }) }]
      : [],
  );
  return { charges: sandbox.charges, creates };
}

const control = createServer(async (request, response) => {
  if (request.method === "POST") {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const faults: SandboxFault[] = JSON.parse(Buffer.concat(chunks).toString());
    for (const fault of faults) sandbox.inject(fault);
  }
  response.end(JSON.stringify(ledger()));
});

control.listen(0, "127.0.0.1", () => {
  const { port } = control.address() as AddressInfo;
  const { shortapi, aigptimage, trinetra, openaiCompatible } = sandbox;
  const access = { shortapi, aigptimage, trinetra, openaiCompatible };
  process.stdout.write(`${JSON.stringify({ control: `http://127.0.0.1:${port}`, access })}\n`);
});
// Never outlives the harness.
process.stdin.on("close", () => process.exit()).resume();
