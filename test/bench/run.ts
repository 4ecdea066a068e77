/**
 * `npm run bench`: this package beside what its users would otherwise pick, and beside the limit.
 *
 * `npm run bench -- small-sync import` runs some of it, `--rounds 2` fewer rounds. A missed target
 * is said, and is no failure; bytes that differ are.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Measured, verdictsOf } from "./figures";
import { reportOf } from "./report";
import { type Figures, Stage } from "./stage";
import { tableOf } from "./table";
import { type Workload, workloads } from "./workloads";

const place = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const packageOf = (path: string) => JSON.parse(readFileSync(place(path), "utf8"));

/** The contenders have a lock file of their own, so that `npm ci` at the root stays small. */
function installContenders(): void {
  const installed = place("node_modules/.package-lock.json");
  const isFresh =
    existsSync(installed) &&
    statSync(installed).mtimeMs >= statSync(place("package-lock.json")).mtimeMs;
  if (isFresh) return;
  const flags = ["--no-audit", "--no-fund"];
  execFileSync("npm", ["ci", ...flags], { cwd: place("."), stdio: "inherit" });
}

function chosen() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { rounds: { type: "string", default: "5" } },
  });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error("--rounds takes a whole number");
  const names = workloads.map(({ name }) => name);
  const stray = positionals.filter((name) => !names.includes(name));
  if (stray.length > 0) throw new Error(`No ${stray.join(", ")}; there are ${names.join(", ")}`);
  const picked = workloads.filter(({ name }) => !positionals.length || positionals.includes(name));
  return { rounds, picked };
}

/** Round by round, all contenders in turn: whatever else the machine does meets all of them. */
async function measured(workload: Workload, rounds: number, stage: Stage): Promise<Measured> {
  const found: Record<string, Figures>[] = [];
  const { contenders, name } = workload;
  for (let round = 1; round <= rounds; round += 1) {
    const figures: Record<string, Figures> = {};
    for (const contender of contenders) {
      if (process.stderr.isTTY) {
        process.stderr.write(`\r\x1b[K${name}: round ${round} of ${rounds}, ${contender}`);
      }
      figures[contender] = await workload.measure(contender, stage);
    }
    found.push(figures);
  }
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  return { workload, rounds: found };
}

const { rounds, picked } = chosen();
installContenders();
const { dependencies } = packageOf("package.json");
const environment = {
  node: process.version,
  processor: `${cpus()[0]?.model.trim() ?? "unknown"} × ${cpus().length}`,
  system: `${process.platform} ${process.arch}`,
  load: loadavg()
    .map((each) => each.toFixed(1))
    .join(" "),
  at: new Date().toISOString(),
  versions: { ours: packageOf("../../package.json").version, ...dependencies },
};
const versions = Object.entries(environment.versions).map(
  ([name, version]) => `${name} ${version}`,
);
console.log(`Node ${environment.node}, ${environment.processor}, load ${environment.load}`);
console.log(`${versions.join(", ")}\n`);

const all: Measured[] = [];
const stage = await Stage.open();
try {
  for (const workload of picked) {
    const found = await measured(workload, workload.rounds?.(rounds) ?? rounds, stage);
    all.push(found);
    console.log(tableOf(found));
  }
} finally {
  stage.close();
}

const verdicts = all.flatMap(verdictsOf);
const missed = verdicts.filter(({ met }) => !met).length;
const output = place("../../output/bench/");
mkdirSync(output, { recursive: true });
const file = `${output}node${process.versions.node.split(".")[0]}.html`;
writeFileSync(file, reportOf(environment, all));
console.log(
  missed === 0
    ? `All ${verdicts.length} targets are met`
    : `${missed} of ${verdicts.length} targets are missed`,
);
console.log(file);
