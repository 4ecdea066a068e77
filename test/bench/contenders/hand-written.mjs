/** From the socket's bytes to a file of decoded base64, as fast as one can write it by hand. */
import { open } from "node:fs/promises";
import { Writable } from "node:stream";

const marker = Buffer.from('"b64_json":"');
const quote = 0x22;
const batchBytes = 256 * 1024;
/** What a socket gives at most at once. */
const chunkBytes = 64 * 1024;

/**
 * Takes OpenAI's JSON and writes the picture in it to a file. It knows what it will be given: one
 * picture, its key never split by white space, no escapes, no errors.
 */
export class Base64File extends Writable {
  #opening;
  #before = Buffer.alloc(0);
  #state = "before";
  /** Base64 letters that make no whole byte group yet. */
  #rest = "";
  // One is filled while the other is written.
  #batch = Buffer.allocUnsafeSlow(batchBytes);
  #spare = Buffer.allocUnsafeSlow(batchBytes);
  #filled = 0;
  #writing = Promise.resolve();

  constructor(path) {
    super({ highWaterMark: chunkBytes });
    this.#opening = open(path, "w");
  }

  _write(chunk, _encoding, done) {
    this.#take(chunk);
    if (this.#filled < batchBytes - chunkBytes) done();
    else this.#flush().then(() => done(), done);
  }

  _final(done) {
    const end = async () => {
      await this.#flush();
      await this.#writing;
      await (await this.#opening).close();
    };
    end().then(() => done(), done);
  }

  #take(given) {
    let chunk = given;
    let start = 0;
    if (this.#state === "before") {
      if (this.#before.byteLength > 0) chunk = Buffer.concat([this.#before, chunk]);
      const found = chunk.indexOf(marker);
      if (found === -1) {
        this.#before = chunk.subarray(-marker.byteLength);
        return;
      }
      start = found + marker.byteLength;
      this.#state = "within";
    }
    if (this.#state === "after") return;
    let end = chunk.indexOf(quote, start);
    if (end === -1) end = chunk.byteLength;
    else this.#state = "after";
    if (this.#rest !== "") {
      const more = Math.min(4 - this.#rest.length, end - start);
      this.#rest += chunk.latin1Slice(start, start + more);
      start += more;
      if (this.#rest.length === 4) {
        this.#decode(this.#rest);
        this.#rest = "";
      }
    }
    const whole = end - ((end - start) % 4);
    if (whole > start) this.#decode(chunk.latin1Slice(start, whole));
    this.#rest += chunk.latin1Slice(whole, end);
  }

  #decode(letters) {
    this.#filled += this.#batch.write(letters, this.#filled, "base64");
  }

  /** Comes back once there is a free buffer, while the full one is on its way to the disk. */
  async #flush() {
    await this.#writing;
    const full = this.#batch;
    const length = this.#filled;
    this.#batch = this.#spare;
    this.#spare = full;
    this.#filled = 0;
    const file = await this.#opening;
    this.#writing = file.write(full, 0, length);
  }
}
