import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, extname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import sharp from "sharp";
import { afterAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
const timeLimitMs = 90_000;
/** PGlite takes seconds to start, and each process of this one has its own. */
const timeLimitsMs: Record<string, number> = { "several-machines": 150_000 };
const atOnce = 2;

// Every file in there is an example, so that a new one is run without a word here.
const names = (await readdir(join(root, "examples"), { withFileTypes: true }))
  .filter((entry) => entry.isFile() && extname(entry.name) === ".ts" && entry.name !== "support.ts")
  .map((entry) => basename(entry.name, ".ts"));

const landscape = "1536x1024";
const square = "1024x1024";

/** The pictures of each example, below its directory in `output`; a new one may be left out. */
const expectedPictures: Record<string, Record<string, string>> = {
  cancel: { "fox.png": square },
  "custom-provider": { "harbour.png": landscape },
  edit: { "street.png": square, "street-in-snow.png": square, "street-by-night.png": square },
  errors: {},
  generate: { "web.png": landscape },
  quickstart: Object.fromEntries(
    ["shortapi", "aigptimage", "trinetra", "openai"].flatMap((name) => [
      [`${name}-generate.png`, landscape],
      [`${name}-edit.png`, square],
    ]),
  ),
  resume: { "boat.png": landscape },
  "switch-provider": Object.fromEntries(
    ["shortapi", "aigptimage", "trinetra", "openai"].map((name) => [`${name}.png`, landscape]),
  ),
  "web-handler": {},
};

interface Run {
  readonly code: unknown;
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;
  /** Its own working directory: what is in there came from this run. */
  readonly directory: string;
  /** Every picture, by its path below `output/NAME`. */
  readonly pictures: Readonly<Record<string, string>>;
}

/** The environment without any key: nothing in here may reach a real service. */
function environment(): NodeJS.ProcessEnv {
  const { SHORTAPI_KEY, AIGPTIMAGE_API_KEY, TRINETRA_API_KEY, OPENAI_API_KEY, ...rest } =
    process.env;
  const { NODE_OPTIONS, FORCE_COLOR, ...plain } = rest;
  return { ...plain, TSX_TSCONFIG_PATH: join(root, "tsconfig.json") };
}

async function run(name: string): Promise<Run> {
  const directory = await mkdtemp(join(tmpdir(), `example-${name}-`));
  const startedAt = Date.now();
  const ended = await new Promise<Pick<Run, "code" | "stdout" | "stderr">>((resolve) => {
    execFile(
      process.execPath,
      ["--import", tsx, join(root, "examples", `${name}.ts`)],
      {
        cwd: directory,
        env: environment(),
        timeout: timeLimitsMs[name] ?? timeLimitMs,
        killSignal: "SIGKILL",
      },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : (error.code ?? error.signal), stdout, stderr }),
    );
  });
  const durationMs = Date.now() - startedAt;
  return { ...ended, durationMs, directory, pictures: await picturesBelow(directory, name) };
}

async function picturesBelow(directory: string, name: string): Promise<Record<string, string>> {
  const output = join(directory, "output");
  if (!existsSync(output)) return {};
  const pictures: Record<string, string> = {};
  for (const entry of await readdir(output, { withFileTypes: true, recursive: true })) {
    if (!/\.(png|jpe?g|webp|part)$/.test(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    const { data, info } = await sharp(path)
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect(data.byteLength, path).toBe(info.width * info.height * 3);
    pictures[relative(join(output, name), path)] = `${info.width}x${info.height}`;
  }
  return pictures;
}

/** All of them, two at a time; each test waits for its own. */
function runAll(): Map<string, Promise<Run>> {
  const running: Promise<unknown>[] = [];
  return new Map(
    names.map((name, index) => {
      const place = running[index - atOnce] ?? Promise.resolve();
      const result = place.then(() => run(name));
      running.push(result.catch(() => {}));
      return [name, result];
    }),
  );
}

const runs = runAll();

function runOf(name: string): Promise<Run> {
  return runs.get(name) ?? Promise.reject(new Error(`There is no example ${name}`));
}

afterAll(async () => {
  const ended = await Promise.allSettled(runs.values());
  for (const each of ended) {
    if (each.status === "fulfilled") await rm(each.value.directory, { recursive: true });
  }
});

describe("every example", { timeout: 600_000 }, () => {
  test.each(names)("%s ends well, in silence, with real pictures", async (name) => {
    const { code, stdout, stderr, pictures } = await runOf(name);

    expect(stderr).toBe("");
    expect(code, stdout).toBe(0);
    expect(stdout).not.toBe("");
    const expected = expectedPictures[name];
    if (expected !== undefined) expect(pictures).toEqual(expected);
  });

  test("none has been renamed away from what is expected of it", () => {
    expect(names).toEqual(expect.arrayContaining(Object.keys(expectedPictures)));
  });
});

describe("what single examples show", { timeout: 600_000 }, () => {
  test("quickstart: the sheet names every picture and needs nothing from elsewhere", async () => {
    const { directory, pictures, stdout, durationMs } = await runOf("quickstart");
    const sheet = join(directory, "output/quickstart/index.html");
    const html = await readFile(sheet, "utf8");

    const sources = [...html.matchAll(/<img src="([^"]+)"/g)].map(([, source = ""]) => source);
    expect(sources.toSorted()).toEqual(Object.keys(pictures).toSorted());
    for (const source of sources) expect(existsSync(join(dirname(sheet), source))).toBe(true);
    expect(html).not.toMatch(/https?:|<script|<link|@import|url\(/);
    expect(html).toContain("not reported");
    expect(html).toContain("0.02 USD reported, 0.06 USD listed");
    expect(html).toContain("its list 0.06 USD");
    // The system's temporary directory may be reached by a link.
    expect(stdout).toContain(join(basename(directory), "output/quickstart/index.html"));
    expect(stdout).toContain("createImageClient({ provider: trinetra() })");
    expect(durationMs).toBeLessThan(60_000);
  });

  test.each(["resume-after-crash", "idempotent-worker", "several-machines"])(
    "%s: the worker dies while the job runs, and one job is paid for",
    async (name) => {
      const { stdout } = await runOf(name);

      expect(stdout).toMatch(/ended by SIGKILL/);
      expect(stdout).toContain("Charges at the provider: 1");
    },
  );

  test("many-images: one of twelve fails, and the others are kept", async () => {
    const { pictures, stdout } = await runOf("many-images");

    expect(Object.values(pictures)).toEqual(Array.from({ length: 11 }, () => square));
    expect(stdout).toContain("11 of 12 pictures");
    expect(stdout).toContain("charged: no");
  });

  test("errors: what is said to be charged agrees with the bill", async () => {
    const { stdout } = await runOf("errors");

    expect(stdout).toMatch(/moderation +no +false/);
    expect(stdout).toMatch(/insufficient_credits +no +false/);
    expect(stdout).toMatch(/rate_limited +no +true/);
    expect(stdout).toMatch(/timeout +unknown +false/);
    expect(stdout).toMatch(/submission_unknown +unknown +false/);
    expect(stdout.match(/^billed by /gm)).toHaveLength(3);
    expect(stdout.match(/^billed by aigptimage/gm)).toHaveLength(1);
  });

  test("cancel: the caller's own reason, and the job all the same", async () => {
    const { stdout } = await runOf("cancel");

    expect(stdout).toContain("by my own reason: the user closed the tab");
    expect(stdout).toMatch(/Accepted all the same, after \d+ ms: job_/);
  });

  test("resume: the reference on the disk holds neither key nor prompt", async () => {
    const { directory } = await runOf("resume");
    const reference = await readFile(join(directory, "output/resume/job.json"), "utf8");

    expect(JSON.parse(reference)).toMatchObject({ v: 1, provider: "trinetra" });
    expect(reference).not.toMatch(/paper boat|key/i);
  });

  test("web-handler: submit, ask, fetch", async () => {
    const { stdout } = await runOf("web-handler");

    expect(stdout).toMatch(/POST \/pictures: 202/);
    expect(stdout).toMatch(/GET \S+ succeeded/);
    expect(stdout).toMatch(/GET …\/image: 200 image\/png \d{4,}/);
  });

  test("ai-sdk: two files, what they cost, and one purchase under a fault", async () => {
    const { pictures, stdout } = await runOf("ai-sdk");

    expect(Object.values(pictures)).toEqual([landscape, landscape]);
    expect(stdout).toContain("image/png, ");
    expect(stdout).toMatch(/^6 credits$/m);
    expect(stdout).toContain("SubmissionUnknownError, charged: unknown");
    expect(stdout).toContain("Bought: 1");
  });

  test("gateway: a response that was lost, asked for again, and one purchase", async () => {
    const { stdout } = await runOf("gateway");

    expect(stdout).toContain("Pictures: 1, asked for twice, bought: 1");
    expect(stdout).toContain("GET /v1/models: 200");
  });

  test("router: one is empty, one has its limit and one is slow, and each picture is bought once", async () => {
    const { pictures, stdout } = await runOf("router");

    expect(Object.keys(pictures)).toEqual(["1.png", "2.png", "3.png"]);
    expect(stdout).toContain("trinetra: insufficient_credits");
    expect(stdout).toContain("shortapi: rate_limited");
    expect(stdout).toMatch(/^openai +charged +3 /m);
    expect(stdout).toContain("Bought: 3");
  });

  test("budget: it ends in the middle of a batch, and says when more comes", async () => {
    const { pictures, stdout } = await runOf("budget");

    expect(Object.keys(pictures)).toHaveLength(5);
    expect(stdout.match(/^not ordered: 0 USD left until .*T00:00:00.000Z$/gm)).toHaveLength(3);
    expect(stdout).toContain("charged 0.3 of 0.3 USD");
    expect(stdout).toContain("Bought: 5");
  });

  test("queue: a worker is killed, and each order is made and paid for once", async () => {
    const { stdout, pictures } = await runOf("queue");

    // Where there is no Redis, it says how to get one.
    if (stdout.includes("found none")) return;
    expect(stdout).toContain("the second worker was killed");
    // The journal, which lies beside them, keeps its own for some minutes.
    const saved = Object.keys(pictures).filter((name) => /^order-\d+-0\.png$/.test(name));
    expect(saved).toHaveLength(8);
    expect(stdout).toContain("Charges at the provider: 8");
  });

  test("custom-provider: says how small an adapter is", async () => {
    const { stdout } = await runOf("custom-provider");

    expect(stdout).toMatch(/The adapter took \d+ lines of code\./);
  });
});
