import type { ImageEvent } from "gpt-image-client";

/** What is on the screen for one task. */
interface Line {
  readonly label: string;
  state: string;
  startedAt?: number;
  endedAt?: number;
}

const spinner = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";

/**
 * One line for each label, redrawn as time goes by on a terminal; where the output goes to a file or
 * a pipe, a plain line whenever a state changes.
 */
export function liveDisplay(labels: readonly string[]) {
  const out = process.stdout;
  const width = Math.max(...labels.map((label) => label.length));
  const lines = labels.map((label): Line => ({ label, state: "waiting" }));
  const startedAt = Date.now();
  let isDrawn = false;

  function draw(): void {
    const frame = Math.floor((Date.now() - startedAt) / 80) % spinner.length;
    const text = lines.map((line) => {
      const mark = line.endedAt ? "✔" : line.startedAt ? spinner[frame] : "·";
      return `${mark} ${rowOf(line)}`.slice(0, (out.columns || 80) - 1);
    });
    // Back to the first line, and each line cleared before it is written anew.
    const home = isDrawn ? `\x1b[${lines.length}A` : "";
    out.write(`${home}${text.map((line) => `\x1b[2K${line}\n`).join("")}`);
    isDrawn = true;
  }

  function rowOf({ label, state, startedAt: from, endedAt = Date.now() }: Line): string {
    const elapsed = from === undefined ? "" : `${((endedAt - from) / 1000).toFixed(1)} s`;
    return `${label.padEnd(width)}  ${elapsed.padStart(6)}  ${state}`;
  }

  const timer = out.isTTY ? setInterval(draw, 80) : undefined;

  function update(label: string, state: string, isEnd = false): void {
    const line = lines.find((each) => each.label === label);
    if (line === undefined || line.state === state) return;
    line.state = state;
    line.startedAt ??= Date.now();
    if (isEnd) line.endedAt = Date.now();
    if (!out.isTTY) console.log(rowOf(line));
  }

  return {
    /** Shows what the client tells of a task while it works. */
    onEvent(label: string, event: ImageEvent): void {
      update(label, wordsFor(event));
    },
    /** The last word on a task. */
    done(label: string, state: string): void {
      update(label, state, true);
    },
    end(): void {
      clearInterval(timer);
      if (out.isTTY) draw();
    },
  };
}

function wordsFor(event: ImageEvent): string {
  switch (event.type) {
    case "submitting":
      return "sent";
    case "submitted":
      return "accepted";
    case "status":
      return event.state;
    case "retry":
      return `again in ${event.delayMs} ms: ${event.reason}`;
    case "partial":
      return `partial image ${event.index + 1}`;
    case "succeeded":
      return "fetching the picture";
    case "saved":
      return "saved";
    case "failed":
      return event.error.code;
  }
}
