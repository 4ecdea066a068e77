import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createImageClient,
  directoryJournal,
  type ImageClientOptions,
  isImageError,
  openaiCompatible,
} from "gpt-image-client";

/** What each check came to: `null` where it held, otherwise what was seen instead. */
export type Verdicts = Record<string, string | null>;

/**
 * What must work wherever the package runs, against the server of `provider.ts`. It knows no test
 * runner, so that it runs in every runtime and out of every bundle.
 *
 * @param origin of that server
 */
export async function smoke(origin: string): Promise<Verdicts> {
  const directory = mkdtempSync(join(tmpdir(), "smoke-"));
  const expected = (await told(`${origin}/sizes`)) as Sizes;

  const clientOf = (model: string, options: Partial<ImageClientOptions> = {}) =>
    createImageClient({
      provider: openaiCompatible({ baseURL: `${origin}/v1`, apiKey: "smoke-test-key-0123", model }),
      timeoutMs: 30_000,
      ...options,
    });
  const generate = (model: string, call = {}) => clientOf(model).generate({ prompt: "x" }, call);
  /** How many creates the server has counted for a model. */
  const creates = (model: string) => told(`${origin}/creates/${model}`);

  const checks: Record<string, () => Promise<void>> = {
    "a small base64 image": async () => {
      equal((await (await generate("small")).image.bytes()).byteLength, expected.small);
    },
    "a 12 MB base64 image": async () => {
      equal((await (await generate("large")).image.bytes()).byteLength, expected.large);
    },
    "an image by URL": async () => {
      equal((await (await generate("url")).image.bytes()).byteLength, expected.small);
    },
    "`saveTo` writes the whole file": async () => {
      const saveTo = join(directory, "saved");
      const { image } = await generate("large", { saveTo });
      equal(readFileSync(image.file ?? "").byteLength, expected.large);
      equal(readdirSync(saveTo).length, 1);
    },
    "one purchase for the same key twice, over a journal": async () => {
      for (let times = 0; times < 2; times += 1) {
        const journal = directoryJournal(join(directory, "journal"));
        const client = clientOf("journal", { journal });
        const { image } = await client.generate({ prompt: "x" }, { idempotencyKey: "order" });
        equal((await image.bytes()).byteLength, expected.small);
      }
      equal(await creates("journal"), 1);
    },
    "an abort rejects with its own reason": async () => {
      const reason = new Error("enough");
      const controller = new AbortController();
      const generating = generate("slow", { signal: controller.signal });
      setTimeout(() => controller.abort(reason), 50);
      equal(await caught(generating), reason);
    },
    "a time-out says that money may be gone": async () => {
      const error = await caught(generate("slow", { timeoutMs: 300 }));
      equal(isImageError(error) && `${error.code} ${error.charged}`, "timeout unknown");
    },
    "a create whose connection is reset is sent once": async () => {
      const error = await caught(generate("reset"));
      equal(isImageError(error) && `${error.code} ${error.charged}`, "submission_unknown unknown");
      equal(await creates("reset"), 1);
    },
    "the network guard, by address": () => isBlocked("private-address"),
    "the network guard, by name": () => isBlocked("private-name"),
  };

  async function isBlocked(model: string): Promise<void> {
    const { image } = await generate(model);
    const error = await caught(image.bytes());
    equal(isImageError(error) && `${error.code} ${error.charged}`, "download_failed yes");
    equal(await creates("secret"), 0);
  }

  const verdicts: Verdicts = {};
  for (const [name, check] of Object.entries(checks)) {
    verdicts[name] = await check().then(
      () => null,
      (error: unknown) => String(error),
    );
  }
  return verdicts;
}

/** How large the pictures of the server are. */
export interface Sizes {
  readonly small: number;
  readonly large: number;
}

async function told(url: string): Promise<unknown> {
  return (await fetch(url)).json();
}

async function caught(promise: Promise<unknown>): Promise<unknown> {
  try {
    return `resolved to ${await promise}`;
  } catch (error) {
    return error;
  }
}

function equal(seen: unknown, wanted: unknown): void {
  if (seen !== wanted) throw new Error(`${String(seen)}, and not ${String(wanted)}`);
}
