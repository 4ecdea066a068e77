import { crc32, deflateSync } from "node:zlib";

const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const shades = 16;

export type Colour = readonly [red: number, green: number, blue: number];

function chunk(type: string, data: Buffer): Buffer {
  const typed = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const framed = Buffer.alloc(typed.byteLength + 8);
  framed.writeUInt32BE(data.byteLength, 0);
  typed.copy(framed, 4);
  framed.writeUInt32BE(crc32(typed), typed.byteLength + 4);
  return framed;
}

function header(width: number, height: number): Buffer {
  const data = Buffer.alloc(13);
  data.writeUInt32BE(width, 0);
  data.writeUInt32BE(height, 4);
  data.set([4, 3], 8); // 4 bits a pixel, out of a palette
  return data;
}

function palette(from: Colour, to: Colour): Buffer {
  const mix = (channel: 0 | 1 | 2, step: number) =>
    Math.round(from[channel] + ((to[channel] - from[channel]) * step) / (shades - 1));
  return Buffer.from(
    Array.from({ length: shades }, (_, step) => [mix(0, step), mix(1, step), mix(2, step)]).flat(),
  );
}

/** A PNG that shades from one colour at the top to another at the bottom, made in milliseconds. */
export function plainPng(width: number, height: number, from: Colour, to: Colour): Buffer {
  const rowBytes = 1 + Math.ceil(width / 2);
  const rows = Buffer.alloc(rowBytes * height);
  for (let row = 0; row < height; row += 1) {
    const shade = Math.floor((row * shades) / height);
    rows.fill(shade * 17, row * rowBytes + 1, (row + 1) * rowBytes);
  }
  return Buffer.concat([
    signature,
    chunk("IHDR", header(width, height)),
    chunk("PLTE", palette(from, to)),
    chunk("IDAT", deflateSync(rows, { level: 1 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}
