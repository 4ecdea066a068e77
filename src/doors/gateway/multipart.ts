import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Incoming } from "./exchange";
import { GatewayFault, wrongField } from "./faults";
import type { Form } from "./fields";

/** How much of a body is read. */
export interface BodyLimits {
  readonly maxBodyBytes: number;
  readonly maxFileBytes: number;
  readonly maxParts: number;
}

/**
 * Parts of a form are read by `@fastify/busboy`, an optional peer, as they come. `Request.formData()` of
 * Node 20.20 needs nothing beside it, but takes 300 MB and a second without a pause for a file of 50 MB,
 * and has no limits.
 */
async function parser() {
  try {
    const { default: loaded, Busboy = loaded } = await import("@fastify/busboy");
    return Busboy;
  } catch (cause) {
    const message =
      "Edits need the package that reads forms, which is not installed beside this gateway: npm install @fastify/busboy";
    const fault = new GatewayFault(501, "not_installed", message);
    throw Object.assign(fault, { cause });
  }
}

/**
 * A form as `openai` sends it: `image`, or `image[]` for each of a list, and `mask`. A file may come
 * without a name and without a type: its bytes say what it is.
 *
 * @throws {@link GatewayFault} where it is too large, has too many parts, or breaks off.
 */
export async function readMultipart(
  incoming: Incoming,
  type: string,
  limits: BodyLimits,
): Promise<Form> {
  const Busboy = await parser();
  const reading = new Reading(limits);
  const headers = { "content-type": type };
  const { maxFileBytes, maxParts } = limits;
  let form: InstanceType<typeof Busboy>;
  try {
    form = new Busboy({
      headers,
      // One more of each, to tell too many from just enough.
      limits: { fileSize: maxFileBytes + 1, parts: maxParts + 1, fieldSize: 1024 * 1024 },
      // Whatever has a file's name or type is one, and the rest is text.
      isPartAFile: (_name, contentType, fileName) =>
        fileName !== undefined || contentType === "application/octet-stream",
    });
  } catch {
    throw unreadable();
  }
  form.on("field", (name: string, value: string, _: boolean, isCut: boolean) =>
    reading.addField(name, value, isCut),
  );
  form.on("file", (name: string, file: Readable) => reading.addFile(name, file));
  form.on("partsLimit", () => reading.failWith(tooManyParts(maxParts)));
  try {
    await pipeline(Readable.from(reading.limited(incoming.body())), form);
    await reading.ended();
  } catch (error) {
    throw error instanceof GatewayFault ? error : (reading.fault ?? unreadable());
  }
  return reading.form();
}

class Reading {
  readonly #limits: BodyLimits;
  readonly #fields = new Map<string, unknown>();
  /** By their places in the form. */
  readonly #images = new Map<number, Uint8Array>();
  readonly #files: Promise<void>[] = [];
  #mask: Uint8Array | undefined;
  #parts = 0;
  #length = 0;
  fault: GatewayFault | undefined;

  constructor(limits: BodyLimits) {
    this.#limits = limits;
  }

  failWith(fault: GatewayFault): void {
    this.fault ??= fault;
  }

  /** The body, up to where something of it is wrong: what follows need not be parsed. */
  async *limited(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    const { maxBodyBytes } = this.#limits;
    for await (const piece of body) {
      this.#length += piece.byteLength;
      if (this.#length > maxBodyBytes) {
        this.failWith(tooLarge(maxBodyBytes));
      }
      if (this.fault !== undefined) throw this.fault;
      yield piece;
    }
  }

  addField(name: string, value: string, isCut: boolean): void {
    this.#count(name);
    // What `openai` makes of a Buffer: a megabyte would be a million parts.
    if (/^(image|mask)(\[\])?\[\d+\]$/.test(name)) {
      const [param = name] = name.split("[");
      const message = `${param} came as one field a byte: wrap it in toFile(bytes, name, { type }).`;
      this.failWith(wrongField(param, message));
    } else if (isCut) {
      this.failWith(wrongField(name, `${name} is too long.`));
    } else if (this.#fields.has(name)) {
      this.failWith(wrongField(name, `${name} came twice.`));
    } else if (value !== "null" || name === "prompt") {
      // `openai` takes no null in a form, and asks for the word instead.
      this.#fields.set(name, value);
    }
  }

  addFile(name: string, file: Readable): void {
    this.#count(name);
    const pieces: Uint8Array[] = [];
    let length = 0;
    file.on("data", (piece: Uint8Array) => {
      length += piece.byteLength;
      if (length <= this.#limits.maxFileBytes) pieces.push(piece);
      else this.failWith(this.#largeFile(name));
    });
    const index = this.#files.length;
    const taken = new Promise<void>((resolve, reject) => {
      file.on("error", reject);
      file.on("end", () => {
        if (this.fault === undefined) this.#take(name, index, Buffer.concat(pieces));
        resolve();
      });
    });
    // The form as a whole says that it broke off.
    taken.catch(() => {});
    this.#files.push(taken);
  }

  /** The form has ended before its files: they are read as streams of their own. */
  async ended(): Promise<void> {
    await Promise.all(this.#files);
  }

  #take(name: string, index: number, bytes: Uint8Array): void {
    if (name === "image" || name === "image[]") this.#images.set(index, bytes);
    else if (name === "mask" && this.#mask === undefined) this.#mask = bytes;
    else this.failWith(wrongField(name, `No file is taken as ${name}.`));
  }

  #largeFile(name: string): GatewayFault {
    const message = `${name} is larger than ${this.#limits.maxFileBytes} bytes.`;
    return new GatewayFault(413, "request_too_large", message, { param: name.replace("[]", "") });
  }

  #count(name: string): void {
    this.#parts += 1;
    const { maxParts } = this.#limits;
    if (this.#parts > maxParts && !/\[\d+\]$/.test(name)) this.failWith(tooManyParts(maxParts));
  }

  form(): Form {
    if (this.fault !== undefined) throw this.fault;
    const sorted = [...this.#images].sort(([one], [other]) => one - other);
    const images = sorted.map(([, bytes]) => bytes);
    return { fields: this.#fields, images, mask: this.#mask };
  }
}

export function tooLarge(maxBytes: number): GatewayFault {
  return new GatewayFault(413, "request_too_large", `The body is larger than ${maxBytes} bytes.`);
}

function tooManyParts(most: number): GatewayFault {
  return new GatewayFault(400, "too_many_parts", `A form may have ${most} parts.`);
}

function unreadable(): GatewayFault {
  return new GatewayFault(400, "invalid_form", "The body is no form that can be read.");
}
