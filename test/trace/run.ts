/**
 * `npm run trace`: the rooms that a generation enters, in order, as the sources of a checkout stand.
 *
 * Five generations, one of each kind, run against the sandbox, which is a process of its own. A stay is
 * a row of functions of one file, entered with none of another file in between. `npm run trace -- DIR`
 * traces another checkout, whose dependencies are installed; `--brief` prints the figures alone.
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { loadTraced } from "./instrument";
import { traceOf } from "./record";
import { startSandboxProcess, stories } from "./stories";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { brief: { type: "boolean", default: false } },
});
const [checkout = "."] = positionals;

/** Clocks, schemas, bytes: below everything, and of no interest on the way. As they are and were named. */
const ground =
  /^(async\/(clock|signal|lazy|timer|turns)|cost|realm|sentences|media\/.*|parse\/.*|http\/(header|body|socket-reads)|adapter\/dimensions|clock|once|turns|compiled|header|media|body|decoded-image|lent-reads|dimensions)$/;

const isGround = (file: string) => ground.test(file);
const roomOf = (file: string) => file.split("/")[0] ?? file;

/** One for each row of the same. */
const stays = (names: readonly string[]) =>
  names.filter((name, index) => name !== names[index - 1]);

const trace = traceOf();
const face = await loadTraced(resolve(checkout), trace.enter);
await using sandbox = await startSandboxProcess();
const rows: Record<string, Record<string, number>> = {};
for (const { name, run } of stories) {
  // Once to load and connect what is loaded and connected once.
  await run(face, sandbox.access, async (work) => void (await work()));
  const { entered, promises } = await trace.record((traced) => run(face, sandbox.access, traced));
  const way = stays(entered.filter((file) => !isGround(file)));
  rows[name] = {
    functions: entered.length,
    files: new Set(entered).size,
    stays: stays(entered).length,
    "files above ground": new Set(way).size,
    "stays above ground": way.length,
    rooms: new Set(way.map(roomOf)).size,
    "stays in rooms": stays(way.map(roomOf)).length,
    promises,
  };
  if (!values.brief) console.log(`${name}\n${folded(way.join(" → "))}\n`);
}
console.table(rows);

/** Lines of a terminal. */
function folded(text: string): string {
  return text.replace(/(.{1,98})( |$)/g, "  $1\n").trimEnd();
}
