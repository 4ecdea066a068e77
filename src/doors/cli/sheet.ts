import type { OverlayOptions } from "sharp";
import { UsageError } from "./usage-error";

type MakeSharp = typeof import("sharp").default;

const cell = 320;
const gap = 16;
const caption = 28;
/** More than a screen is wide nobody looks at. */
const mostColumns = 6;

/** Draws pictures into one. */
export type DrawSheet = (entries: readonly SheetEntry[]) => Promise<Buffer>;

/** A picture of the sheet, and what stands below it. */
export interface SheetEntry {
  readonly bytes: Uint8Array;
  readonly caption: string;
}

/**
 * What draws contact sheets.
 *
 * @throws {@link UsageError} where `sharp` is not installed: before anything is paid for.
 */
export async function loadSheets(): Promise<DrawSheet> {
  let sharp: MakeSharp;
  try {
    sharp = (await import("sharp")).default;
  } catch (cause) {
    const install = "npm install sharp (or: npx -p sharp -p gpt-image-client gpt-image-client …)";
    throw new UsageError(`--sheet draws with the optional package "sharp": ${install}`, { cause });
  }
  return (entries) => drawn(sharp, entries);
}

async function drawn(sharp: MakeSharp, entries: readonly SheetEntry[]): Promise<Buffer> {
  const columns = Math.min(mostColumns, Math.ceil(Math.sqrt(entries.length)));
  const rows = Math.ceil(entries.length / columns);
  const width = columns * (cell + gap) + gap;
  const height = rows * (cell + caption + gap) + gap;
  const pictures = entries.map(
    async ({ bytes, caption: text }, index): Promise<OverlayOptions[]> => {
      const left = gap + (index % columns) * (cell + gap);
      const top = gap + Math.floor(index / columns) * (cell + caption + gap);
      const picture = await sharp(bytes)
        .resize(cell, cell, { fit: "contain", background: "#1c1c1b" })
        .png()
        .toBuffer();
      return [
        { input: picture, left, top },
        { input: Buffer.from(captionOf(text)), left, top: top + cell },
      ];
    },
  );
  return sharp({ create: { width, height, channels: 3, background: "#131312" } })
    .composite((await Promise.all(pictures)).flat())
    .png()
    .toBuffer();
}

/** As long as the cell is wide; what tells one name from another stands at its end. */
function shortened(text: string): string {
  const characters = [...text];
  if (characters.length <= 40) return text;
  return `${characters.slice(0, 19).join("")}…${characters.slice(-20).join("")}`;
}

function captionOf(text: string): string {
  const escaped = shortened(text).replace(
    /[&<>"']/g,
    (character) => `&#${character.charCodeAt(0)};`,
  );
  const style = 'font-family="sans-serif" font-size="12" fill="#b9b9b2"';
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${cell}" height="${caption}"><text x="2" y="19" ${style}>${escaped}</text></svg>`;
}
