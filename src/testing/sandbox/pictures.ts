import { createHash } from "node:crypto";
import type { Sharp, SharpOptions } from "sharp";
import type { PictureFormat } from "./media";
import { type Colour, plainPng } from "./png";

/** What to draw. */
export interface Picture {
  readonly prompt: string;
  /** Small, in a corner. */
  readonly provider: string;
  /** Which of `count` pictures of one prompt it is, from 0. */
  readonly index: number;
  readonly count: number;
  readonly width: number;
  readonly height: number;
  readonly format: PictureFormat;
  /** 0 to 100, for jpeg and webp. */
  readonly compression?: number;
  readonly transparent?: boolean;
  /** An edit shows its first input, if it can be read, as a framed picture. */
  readonly input?: Buffer;
  /** No words, no frame. */
  readonly plain: boolean;
}

type MakeSharp = (input?: Buffer, options?: SharpOptions) => Sharp;

let loading: Promise<MakeSharp | undefined> | undefined;

/** `sharp` where it is installed; it is an optional peer. */
function loadSharp(): Promise<MakeSharp | undefined> {
  loading ??= import("sharp").then(
    (module) => module.default,
    () => undefined,
  );
  return loading;
}

/** Why a format cannot be made on this machine; undefined when it can. */
export async function formatProblem(format: PictureFormat): Promise<string | undefined> {
  if (format === "png" || (await loadSharp()) !== undefined) return undefined;
  return `The sandbox needs the optional package "sharp" to make ${format}; without it it makes only png.`;
}

interface Palette {
  readonly hue: number;
  readonly from: Colour;
  readonly to: Colour;
}

function colourOf(hue: number, saturation: number, lightness: number): Colour {
  const reach = saturation * Math.min(lightness, 1 - lightness);
  const channel = (offset: number) => {
    const place = (offset + hue / 30) % 12;
    return Math.round(255 * (lightness - reach * Math.max(-1, Math.min(place - 3, 9 - place, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

/** The same prompt has the same colours everywhere; its several pictures differ a little. */
function paletteOf(prompt: string, index: number): Palette {
  const digest = createHash("sha256").update(prompt).digest();
  const hue = (((digest[0] ?? 0) * 256 + (digest[1] ?? 0)) % 360) + index * 47;
  return {
    hue: hue % 360,
    from: colourOf(hue % 360, 0.62, 0.36),
    to: colourOf((hue + 55) % 360, 0.58, 0.2),
  };
}

function css([red, green, blue]: Colour): string {
  return `rgb(${red},${green},${blue})`;
}

/** Escaped for XML, without the characters that XML cannot hold at all. */
function escapeXml(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    "<": "&lt;",
    ">": "&gt;",
    "&": "&amp;",
    '"': "&quot;",
  };
  return text
    .replace(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, "")
    .replace(/[<>&"]/g, (character) => entities[character] ?? "");
}

/** In units of the font size: rather too wide than cut off, since the fonts are the machine's own. */
function widthOf(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/[\u1100-\u{1FFFF}]/u.test(character)) width += 1.08;
    else if (/[MW@%mw]/.test(character)) width += 0.95;
    else if (/[iIljt.,:;'|! ]/.test(character)) width += 0.38;
    else width += /[A-Z0-9]/.test(character) ? 0.78 : 0.7;
  }
  return width;
}

/** Pieces of a word that is too long for a line, or of a script that has no spaces. */
function splitWord(word: string, lineWidth: number): string[] {
  if (widthOf(word) <= lineWidth) return [word];
  const pieces = [""];
  for (const character of word) {
    const last = pieces.length - 1;
    const longer = `${pieces[last] ?? ""}${character}`;
    if (widthOf(longer) <= lineWidth) pieces[last] = longer;
    else pieces.push(character);
  }
  return pieces;
}

function wrap(text: string, lineWidth: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const piece of text.split(/\s+/).flatMap((word) => splitWord(word, lineWidth))) {
    const longer = line === "" ? piece : `${line} ${piece}`;
    if (widthOf(longer) <= lineWidth) line = longer;
    else {
      if (line !== "") lines.push(line);
      line = piece;
    }
  }
  return line === "" ? lines : [...lines, line];
}

interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

const lineHeight = 1.26;
/** No picture holds more of a prompt legibly, and the longest are 32,000 characters. */
const mostCharactersDrawn = 1200;

interface FittedText {
  readonly lines: readonly string[];
  readonly fontSize: number;
}

/** The largest letters in which the whole text fits its box; what never fits is cut with an ellipsis. */
function fitText(text: string, box: Box, largest: number, smallest: number): FittedText {
  const shown = text.length > mostCharactersDrawn ? `${text.slice(0, mostCharactersDrawn)}…` : text;
  for (let fontSize = largest; fontSize > smallest; fontSize *= 0.92) {
    const lines = wrap(shown, box.width / fontSize);
    if (lines.length * fontSize * lineHeight <= box.height) return { lines, fontSize };
  }
  const lines = wrap(shown, box.width / smallest);
  const room = Math.max(1, Math.floor(box.height / (smallest * lineHeight)));
  if (lines.length <= room) return { lines, fontSize: smallest };
  const kept = lines.slice(0, room);
  return { lines: [...kept.slice(0, -1), `${kept.at(-1) ?? ""}…`], fontSize: smallest };
}

interface Layout {
  readonly margin: number;
  readonly footerSize: number;
  readonly text: Box;
  /** Where an edit's input goes. */
  readonly frame: Box;
}

/** Text stands at the bottom left, over a footer; an input picture takes the space above a caption. */
function layOut({ width, height, input }: Picture): Layout {
  const short = Math.min(width, height);
  const margin = Math.round(short * 0.075);
  const footerSize = Math.max(9, short * 0.031);
  const innerWidth = width - 2 * margin;
  const bottom = height - margin - footerSize * 2.9;
  const captionHeight = input ? Math.max(short * 0.17, height * 0.15) : bottom - margin;
  const text = {
    left: margin,
    top: bottom - captionHeight,
    width: innerWidth,
    height: captionHeight,
  };
  const frameHeight = text.top - margin * 1.5;
  return {
    margin,
    footerSize,
    text,
    frame: { left: margin, top: margin, width: innerWidth, height: frameHeight },
  };
}

const fontFamily =
  "Inter, 'Helvetica Neue', 'Segoe UI', 'DejaVu Sans', Arial, 'Noto Sans', sans-serif";

function textSvg(picture: Picture, { margin, footerSize, text }: Layout): string {
  const { width, height, index, count, input } = picture;
  const short = Math.min(width, height);
  const fitted = fitText(
    picture.prompt,
    text,
    short * (input ? 0.055 : 0.092),
    Math.max(8, short * 0.021),
  );
  const top = text.top + text.height - fitted.lines.length * fitted.fontSize * lineHeight;
  const spans = fitted.lines
    .map((line, row) => {
      const baseline = top + (row + 0.95) * fitted.fontSize * lineHeight;
      return `<tspan x="${text.left}" y="${baseline.toFixed(1)}">${escapeXml(line)}</tspan>`;
    })
    .join("");
  const footerBaseline = height - margin;
  const left = escapeXml(
    `${picture.provider}${input ? " · edit" : ""}${count > 1 ? ` · ${index + 1}/${count}` : ""}`,
  );
  const footer = `font-size="${footerSize.toFixed(1)}" fill="#fff" fill-opacity=".78" y="${footerBaseline}"`;
  return `<g font-family="${fontFamily}">
    <text font-size="${fitted.fontSize.toFixed(1)}" font-weight="700" fill="#fff">${spans}</text>
    <rect x="${margin}" y="${footerBaseline - footerSize * 1.75}" width="${width - 2 * margin}" height="${Math.max(1, short * 0.0015)}" fill="#fff" fill-opacity=".35"/>
    <text ${footer} x="${margin}">${left}</text>
    <text ${footer} x="${width - margin}" text-anchor="end">${width} × ${height}</text>
  </g>`;
}

function backgroundSvg(picture: Picture): string {
  const { width, height, transparent } = picture;
  const { hue, from, to } = paletteOf(picture.prompt, picture.index);
  const short = Math.min(width, height);
  const inset = transparent ? short * 0.02 : 0;
  const shape = `x="${inset}" y="${inset}" width="${width - 2 * inset}" height="${height - 2 * inset}" rx="${inset * 2}"`;
  const glow = (id: string, x: number, y: number, radius: number, shift: number, opacity: number) =>
    `<radialGradient id="${id}" gradientUnits="userSpaceOnUse" cx="${width * x}" cy="${height * y}" r="${Math.max(width, height) * radius}">
      <stop offset="0" stop-color="${css(colourOf((hue + shift) % 360, 0.75, 0.6))}" stop-opacity="${opacity}"/>
      <stop offset="1" stop-color="${css(colourOf((hue + shift) % 360, 0.75, 0.6))}" stop-opacity="0"/>
    </radialGradient>`;
  return `<defs>
    <linearGradient id="ground" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="${css(from)}"/><stop offset="1" stop-color="${css(to)}"/></linearGradient>
    <linearGradient id="shade" x1="0" y1="0" x2="0" y2="1"><stop offset=".3" stop-color="#000" stop-opacity="0"/><stop offset="1" stop-color="#000" stop-opacity=".42"/></linearGradient>
    ${glow("sun", 0.82, 0.16, 0.55, 40, 0.85)}${glow("moon", 0.1, 0.05, 0.5, 320, 0.5)}${glow("sea", 0.95, 0.95, 0.45, 90, 0.35)}
  </defs>
  <rect ${shape} fill="url(#ground)"/><rect ${shape} fill="url(#sun)"/><rect ${shape} fill="url(#moon)"/><rect ${shape} fill="url(#sea)"/><rect ${shape} fill="url(#shade)"/>`;
}

interface Framed {
  readonly svg: string;
  readonly overlay: { readonly input: Buffer; readonly left: number; readonly top: number };
}

/** The input, fitted into the frame's box on a white mount; nothing when it is no picture. */
async function frameInput(
  sharp: MakeSharp,
  input: Buffer,
  { frame, margin }: Layout,
): Promise<Framed | undefined> {
  const mount = Math.max(3, margin * 0.16);
  try {
    const inside = {
      width: Math.round(frame.width - 2 * mount),
      height: Math.round(frame.height - 2 * mount),
    };
    const { data, info } = await sharp(input)
      .rotate()
      .resize({ ...inside, fit: "inside" })
      .png({ compressionLevel: 1 })
      .toBuffer({ resolveWithObject: true });
    const left = Math.round(frame.left + (frame.width - info.width) / 2);
    const top = Math.round(frame.top + (frame.height - info.height) / 2);
    const rect = (grow: number, drop: number, paint: string) =>
      `<rect x="${left - grow}" y="${top - grow + drop}" width="${info.width + 2 * grow}" height="${info.height + 2 * grow}" rx="${mount * 0.4}" ${paint}/>`;
    const shadows = [2.6, 1.8, 1.2].map((by) =>
      rect(mount * by, mount * 0.9, 'fill="#000" fill-opacity=".12"'),
    );
    return {
      svg: shadows.join("") + rect(mount, 0, 'fill="#fff"'),
      overlay: { input: data, left, top },
    };
  } catch {
    return undefined;
  }
}

function encode(image: Sharp, { format, compression }: Picture): Promise<Buffer> {
  const quality = { quality: Math.max(1, compression ?? 85) };
  if (format === "jpeg") return image.jpeg(quality).toBuffer();
  if (format === "webp") return image.webp({ ...quality, effort: 1 }).toBuffer();
  // Speed matters more than size: a test suite makes hundreds of them.
  return image.png({ compressionLevel: 2 }).toBuffer();
}

function drawPlain({ prompt, index, width, height }: Picture): Buffer {
  const { from, to } = paletteOf(prompt, index);
  return plainPng(width, height, from, to);
}

async function drawWithWords(sharp: MakeSharp, picture: Picture): Promise<Buffer> {
  const { input, ...wordsAlone } = picture;
  const layout = layOut(picture);
  const framed = input && (await frameInput(sharp, input, layout));
  if (input && !framed) return drawWithWords(sharp, wordsAlone);
  const { width, height } = picture;
  const drawing = `${backgroundSvg(picture)}${framed?.svg ?? ""}${textSvg(picture, layout)}`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${drawing}</svg>`;
  const image = sharp(Buffer.from(svg));
  if (framed) image.composite([framed.overlay]);
  return encode(picture.transparent ? image : image.removeAlpha(), picture);
}

/**
 * A picture of the dimensions and format asked for, always the same for the same picture. Without
 * `sharp`, and where it is to be plain, a gradient without words.
 */
export async function draw(picture: Picture): Promise<Buffer> {
  const wordless = picture.plain && picture.format === "png";
  const sharp = wordless ? undefined : await loadSharp();
  if (sharp === undefined) return drawPlain(picture);
  if (picture.plain) return encode(sharp(drawPlain(picture)), picture);
  return drawWithWords(sharp, picture);
}

/**
 * How a picture looks before it is done, `share` from 0 to 1 of it: coarse at first. A plain one is grey at
 * first.
 */
export async function drawPartial(
  picture: Picture,
  whole: () => Promise<Buffer>,
  share: number,
): Promise<Buffer> {
  const { prompt, index, width, height, plain, format } = picture;
  const sharp = plain && format === "png" ? undefined : await loadSharp();
  if (sharp === undefined) {
    const { from, to } = paletteOf(prompt, index);
    const greyed = (colour: Colour): Colour => {
      const [red, green, blue] = colour.map((each) => Math.round(128 + (each - 128) * share));
      return [red ?? 128, green ?? 128, blue ?? 128];
    };
    return plainPng(width, height, greyed(from), greyed(to));
  }
  const longest = Math.round(6 * (Math.max(width, height) / 12) ** share);
  const coarse = await sharp(await whole())
    .resize({ width: longest, height: longest, fit: "inside" })
    .png()
    .toBuffer();
  const sized = sharp(coarse).resize({ width, height, fit: "fill", kernel: "cubic" });
  return encode(sized, picture);
}
