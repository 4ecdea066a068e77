import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { SandboxAccess } from "../../src/testing/sandbox";
import type { Face } from "./instrument";
import type { Traced } from "./record";

type Access = Record<"shortapi" | "aigptimage" | "trinetra" | "openaiCompatible", SandboxAccess>;

/** One generation; what of it goes through `traced` is what its name says. */
interface Story {
  readonly name: string;
  run(face: Face, access: Access, traced: Traced): Promise<void>;
}

const request = { prompt: "test" };

/** A job of the sandbox's takes 60 ms: the first poll sees its end. */
const poll = 150;

export const stories: readonly Story[] = [
  {
    name: "sync",
    async run({ createImageClient, openai }, { openaiCompatible }, traced) {
      await using client = createImageClient({ provider: openai(openaiCompatible) });
      await client.generate(request);
      await traced(() => client.generate(request));
    },
  },
  {
    name: "job",
    async run({ createImageClient, trinetra }, access, traced) {
      await using client = createImageClient({ provider: trinetra(access.trinetra), poll });
      await client.generate(request);
      await traced(() => client.generate(request));
    },
  },
  {
    name: "resume",
    async run({ createImageClient, trinetra }, access, traced) {
      await using client = createImageClient({ provider: trinetra(access.trinetra), poll });
      const { reference } = await client.submit(request);
      await sleep(poll);
      await traced(() => client.resume(reference).result());
    },
  },
  {
    name: "recover",
    async run({ createImageClient, directoryJournal, trinetra }, access, traced) {
      const directory = await mkdtemp(join(tmpdir(), "gpt-image-trace-"));
      const provider = trinetra(access.trinetra);
      const journal = directoryJournal(directory);
      try {
        await using first = createImageClient({ provider, journal, poll });
        const job = await first.submit(request);
        const other = await first.submit(request);
        await sleep(poll);
        await using client = createImageClient({ provider, journal, poll });
        // A client loads what sends when it first sends.
        await client.resume(other.reference).status();
        await other.release();
        await traced(async () => {
          for await (const each of client.recover()) await each.result();
        });
        await job.release();
      } finally {
        await rm(directory, { recursive: true });
      }
    },
  },
  {
    name: "webhook",
    async run({ createImageClient, shortapi }, access, traced) {
      const server = createServer((message, response) => listener(message, response));
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const { port } = server.address() as AddressInfo;
      await using client = createImageClient({
        provider: shortapi(access.shortapi),
        // No poll comes in time: the webhook wakes whoever waits.
        poll: 10_000,
        webhooks: { url: `http://127.0.0.1:${port}/`, secret: "of sixteen letters" },
      });
      const { listener } = client.webhooks;
      try {
        await client.generate(request);
        await traced(() => client.generate(request));
      } finally {
        server.close();
        server.closeAllConnections();
      }
    },
  },
];

/** The sandbox in a process of its own: nothing that it does is counted. */
export async function startSandboxProcess() {
  const path = fileURLToPath(new URL("../crash/sandbox-process.ts", import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", path], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [line] = await new Promise<string[]>((resolve, reject) => {
    createInterface(child.stdout).once("line", (text) => resolve([text]));
    child.once("exit", () => reject(new Error("the sandbox did not start")));
  });
  const { access }: { access: Access } = JSON.parse(line ?? "{}");
  return {
    access,
    async [Symbol.asyncDispose]() {
      // It ends with its input.
      child.stdin.end();
    },
  };
}
