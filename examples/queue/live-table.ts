/** A row for each order, redrawn on a terminal; where the output goes to a file, a line for each change. */
export function liveTable(orders: readonly string[]) {
  const out = process.stdout;
  const rows = new Map(orders.map((id) => [id, { state: "waiting", worker: "", cost: "" }]));
  let note = "";
  let isDrawn = false;

  function draw(): void {
    if (!out.isTTY) return;
    const lines = [...rows].map(([id, { state, worker, cost }]) =>
      [id.padEnd(10), state.padEnd(11), worker.padEnd(8), cost].join(" "),
    );
    const home = isDrawn ? `\x1b[${lines.length + 1}A` : "";
    out.write(`${home}${[...lines, note].map((line) => `\x1b[2K${line}\n`).join("")}`);
    isDrawn = true;
  }

  return {
    /** How an order stands. */
    state(id: string, state: string, cost = ""): void {
      const row = rows.get(id);
      if (row === undefined || row.state === state) return;
      Object.assign(row, { state, cost });
      if (out.isTTY) draw();
      else console.log(`${id}: ${state}${row.worker && `, ${row.worker} worker`}`);
    },
    /** Who is at it. */
    worker(id: string, worker: string): void {
      const row = rows.get(id);
      if (row !== undefined) row.worker = worker;
      draw();
    },
    note(text: string): void {
      note = text;
      if (out.isTTY) draw();
      else console.log(text);
    },
    end: draw,
  };
}
