import type { Database, Row } from "./database";
import { durably } from "./durability";
import type { ImageStore } from "./types";

/**
 * An image is read back as text, of a third more than its bytes: of a large one in a single value, `pg`
 * (8.23) would make a string that is longer than V8 allows, and end the process.
 */
const pieceBytes = 4 * 1024 * 1024;

/** How often an image is read, or written, from its first piece on while others replace it. */
const mostTries = 5;

/** How many images are cleared away at once. */
const batchSize = 100;

/** The images of a journal: rows of bounded pieces, or objects in a store of the user's. */
export class Images {
  readonly #database: Database;
  readonly #schema: string;
  readonly #store: ImageStore | undefined;

  constructor(database: Database, schema: string, store: ImageStore | undefined) {
    this.#database = database;
    this.#schema = schema;
    this.#store = store;
  }

  /** Nobody reads an image before it is whole, and the one that it replaces until then. */
  async write(id: string, position: number, bytes: Uint8Array): Promise<void> {
    // By its content: two processes that bring the same image write the same rows.
    const version = await digestOf(bytes);
    const place = [id, position, version];
    if (this.#store === undefined) await this.#writePieces(place, bytes);
    else await this.#writeObject(this.#store, place, bytes);
  }

  async #writePieces(place: readonly unknown[], bytes: Uint8Array): Promise<void> {
    const pieces = Math.max(1, Math.ceil(bytes.byteLength / pieceBytes));
    const piece = (index: number) =>
      bufferOf(bytes.subarray(index * pieceBytes, (index + 1) * pieceBytes));
    for (let writing = 1; writing <= mostTries; writing += 1) {
      for (let index = 0; index < pieces - 1; index += 1) {
        await this.#database.run(
          `INSERT INTO ${this.#schema}.image_pieces (id, position, version, piece, bytes)
          VALUES ($1, $2::integer, $3, $4::integer, $5::bytea) ON CONFLICT DO NOTHING`,
          [...place, index, piece(index)],
        );
      }
      // The last one comes with the row that publishes all of them, unless some were cleared away.
      const published = await this.#database.run(
        `WITH last AS (
          INSERT INTO ${this.#schema}.image_pieces (id, position, version, piece, bytes)
          VALUES ($1, $2::integer, $3, $4::integer - 1, $6::bytea) ON CONFLICT DO NOTHING
        ), ${this.#replaced()}, published AS (
          INSERT INTO ${this.#schema}.images (id, position, version, pieces, byte_length, published_at)
          SELECT $1, $2::integer, $3, $4::integer, $5::bigint, now()
          WHERE (SELECT count(*) FROM ${this.#schema}.image_pieces AS there
            WHERE there.id = $1 AND there.position = $2::integer AND there.version = $3
              AND there.piece < $4::integer - 1) = $4::integer - 1
          ON CONFLICT (id, position, version) DO UPDATE
            SET published_at = now(), dropped = false, pieces = excluded.pieces RETURNING id
        )
        SELECT (SELECT count(*)::integer FROM published) AS published,
          (SELECT count(*)::integer FROM replaced) AS replaced, ${durably}`,
        [...place, pieces, bytes.byteLength, piece(pieces - 1)],
      );
      if (Number(published[0]?.replaced) > 0) await this.#clear(String(place[0]));
      if (Number(published[0]?.published) > 0) return;
    }
    throw new Error(`Image ${place[1]} of ${place[0]} was deleted as often as it was written`);
  }

  async #writeObject(
    store: ImageStore,
    place: readonly unknown[],
    bytes: Uint8Array,
  ): Promise<void> {
    const values = [...place, bytes.byteLength];
    // First, so that the object is deleted with its record though this process may die before the end.
    await this.#database.run(
      `INSERT INTO ${this.#schema}.images (id, position, version, pieces, byte_length)
      VALUES ($1, $2::integer, $3, 0, $4::bigint)
      ON CONFLICT (id, position, version) DO UPDATE SET dropped = false`,
      values,
    );
    await store.write(keyOf(place), bytes);
    const [row] = await this.#database.run(
      `WITH ${this.#replaced()}, published AS (
        INSERT INTO ${this.#schema}.images (id, position, version, pieces, byte_length, published_at)
        VALUES ($1, $2::integer, $3, 0, $4::bigint, now())
        ON CONFLICT (id, position, version) DO UPDATE
          SET published_at = now(), dropped = false, pieces = 0
      )
      SELECT (SELECT count(*)::integer FROM replaced) AS replaced, ${durably}`,
      values,
    );
    if (Number(row?.replaced) > 0) await this.#clear(String(place[0]));
  }

  /** Drops what stood in the place of $1, $2 and is not $3. */
  #replaced(): string {
    return `replaced AS (
      UPDATE ${this.#schema}.images AS old SET dropped = true
      WHERE old.id = $1 AND old.position = $2::integer AND old.version <> $3
        AND old.published_at IS NOT NULL AND NOT old.dropped RETURNING old.id
    )`;
  }

  async read(id: string, position: number): Promise<Uint8Array | undefined> {
    for (let reading = 1; reading <= mostTries; reading += 1) {
      const [first] = await this.#database.run(
        `SELECT image.version, image.pieces, image.byte_length::text AS byte_length,
          encode(first.bytes, 'base64') AS bytes
        FROM ${this.#schema}.images AS image LEFT JOIN ${this.#schema}.image_pieces AS first
          ON first.id = image.id AND first.position = image.position
            AND first.version = image.version AND first.piece = 0 AND image.pieces > 0
        WHERE image.id = $1 AND image.position = $2::integer
          AND image.published_at IS NOT NULL AND NOT image.dropped
        ORDER BY image.published_at DESC LIMIT 1`,
        [id, position],
      );
      if (first === undefined) return undefined;
      const place = [id, position, first.version];
      if (Number(first.pieces) === 0) return this.#readObject(place);
      const bytes = await this.#readPieces(place, first);
      if (bytes !== undefined) return bytes;
      // Replaced, or forgotten, since its row was read.
    }
    throw new Error(`Image ${position} of ${id} is not whole in the database`);
  }

  async #readPieces(place: readonly unknown[], first: Row): Promise<Uint8Array | undefined> {
    const bytes = Buffer.alloc(Number(first.byte_length));
    let row: Row | undefined = first;
    for (let index = 0; ; index += 1) {
      if (typeof row?.bytes !== "string") return undefined;
      const from = index * pieceBytes;
      // What `encode` breaks into lines, Node reads as one.
      const length = bytes.write(row.bytes, from, "base64");
      if (length !== Math.min(pieceBytes, bytes.byteLength - from)) return undefined;
      if (index + 1 >= Number(first.pieces)) return bytes;
      [row] = await this.#database.run(
        `SELECT encode(bytes, 'base64') AS bytes FROM ${this.#schema}.image_pieces
        WHERE id = $1 AND position = $2::integer AND version = $3 AND piece = $4::integer`,
        [...place, index + 1],
      );
    }
  }

  #readObject(place: readonly unknown[]): Promise<Uint8Array | undefined> {
    if (this.#store !== undefined) return this.#store.read(keyOf(place));
    const fault = `Image ${place[1]} of ${place[0]} is in a store`;
    throw new Error(`${fault}: give the journal its \`images\` again`);
  }

  /** Parts of a statement that forget the images of the ids in `gone`; a store's are dropped. */
  forgotten(): string {
    return `pieces AS (
      DELETE FROM ${this.#schema}.image_pieces AS piece USING gone WHERE piece.id = gone.id
    ), rows AS (
      DELETE FROM ${this.#schema}.images AS image USING gone
      WHERE image.id = gone.id AND image.pieces > 0
    ), dropped AS (
      UPDATE ${this.#schema}.images AS image SET dropped = true FROM gone
      WHERE image.id = gone.id AND image.pieces = 0 RETURNING image.id
    )`;
  }

  /** Clears away what was dropped of a record. */
  async clear(id: string): Promise<void> {
    await this.#clear(id);
  }

  /** The same of every record: what could not be deleted where it was dropped is left for the next time. */
  async clearAll(): Promise<void> {
    try {
      await this.#clear();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      process.emitWarning(`Images that the journal has let go of are not deleted yet: ${reason}`);
    }
  }

  async #clear(id?: string): Promise<void> {
    for (;;) {
      const rows = await this.#database.run(
        `SELECT id, position, version, pieces FROM ${this.#schema}.images
        WHERE dropped AND ($1::text IS NULL OR id = $1) AND (pieces > 0 OR $2::boolean) LIMIT ${batchSize}`,
        [id ?? null, this.#store !== undefined],
      );
      for (const row of rows) {
        const place = [row.id, row.position, row.version];
        if (Number(row.pieces) === 0) await this.#store?.delete(keyOf(place));
        await this.#database.run(
          `WITH piece AS (
            DELETE FROM ${this.#schema}.image_pieces
            WHERE id = $1 AND position = $2::integer AND version = $3
          )
          DELETE FROM ${this.#schema}.images
          WHERE id = $1 AND position = $2::integer AND version = $3 AND dropped`,
          place,
        );
      }
      if (rows.length < batchSize) return;
    }
  }
}

/** What an object is called in a store. */
function keyOf([id, position, version]: readonly unknown[]): string {
  return `${id}/${position}-${version}`;
}

/** A buffer over the same bytes, which is what `pg` sends as bytes. */
function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** 128 bits of SHA-256, off the main thread. */
async function digestOf(bytes: Uint8Array): Promise<string> {
  const { buffer, byteOffset, byteLength } = bytes;
  // Memory that is shared between threads must be copied for it.
  const view =
    buffer instanceof ArrayBuffer
      ? new Uint8Array(buffer, byteOffset, byteLength)
      : new Uint8Array(bytes);
  const digest = await crypto.subtle.digest("SHA-256", view);
  return Buffer.from(digest).toString("hex", 0, 16);
}
