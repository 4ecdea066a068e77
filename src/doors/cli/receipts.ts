import { randomUUID } from "node:crypto";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { makeDirectorySync } from "../../files/directories";
import { codeOf } from "./text";

/** What was delivered of a job, or of a line of a batch. */
export interface Receipt {
  readonly v: 1;
  readonly at: string;
  readonly job: string;
  /** Absolute paths; none where the bytes went to stdout. */
  readonly files: readonly string[];
}

/** Who was asked for a line of a batch. */
export interface Claim {
  readonly provider: string;
  /** Tells accounts and addresses apart; absent for the sandbox, and in claims of earlier versions. */
  readonly account?: string;
}

/**
 * Which jobs have delivered all their pictures, a small file each. The journal knows what was paid for and
 * what came; whether it reached its user it does not. A receipt that is missing costs a second copy of a file.
 */
export class Receipts {
  readonly #directory: string;

  constructor(state: string) {
    this.#directory = join(state, "delivered");
  }

  async note(name: string, job: string, files: readonly string[]): Promise<void> {
    const receipt: Receipt = { v: 1, at: new Date().toISOString(), job, files };
    await this.#write(name, receipt);
  }

  /** Writes down, before it is sent, which provider has the order of a line of a batch. */
  async claim(name: string, claim: Claim): Promise<void> {
    await this.#write(`claim-${name}`, { v: 1, at: new Date().toISOString(), ...claim });
  }

  /**
   * The provider that has, or had, the order of a line.
   *
   * @throws where it cannot be read: it is not known then whether another provider has the order.
   */
  async claimedBy(name: string): Promise<Claim | undefined> {
    const text = await readFile(this.#pathOf(`claim-${name}`), "utf8").catch((error: unknown) => {
      if (codeOf(error) === "ENOENT") return undefined;
      throw error;
    });
    if (text === undefined) return undefined;
    const claim: unknown = JSON.parse(text);
    if (typeof claim === "object" && claim !== null && "provider" in claim) {
      const account = "account" in claim ? { account: String(claim.account) } : {};
      return { provider: String(claim.provider), ...account };
    }
    throw new Error(`${this.#pathOf(`claim-${name}`)} does not say which provider was asked`);
  }

  /** Nothing of the line was charged: any provider may be asked. */
  async release(name: string): Promise<void> {
    await this.forget(`claim-${name}`);
  }

  async #write(name: string, receipt: object): Promise<void> {
    makeDirectorySync(this.#directory, 0o700);
    const temporary = join(this.#directory, `.${randomUUID()}.part`);
    try {
      await writeFile(temporary, `${JSON.stringify(receipt)}\n`, { mode: 0o600 });
      await rename(temporary, this.#pathOf(name));
    } finally {
      await rm(temporary, { force: true });
    }
  }

  async read(name: string): Promise<Receipt | undefined> {
    try {
      const receipt: unknown = JSON.parse(await readFile(this.#pathOf(name), "utf8"));
      return isReceipt(receipt) ? receipt : undefined;
    } catch {
      // None, or one that is torn: it counts as none.
      return undefined;
    }
  }

  async forget(name: string): Promise<void> {
    await rm(this.#pathOf(name), { force: true });
  }

  #pathOf(name: string): string {
    return join(this.#directory, `${name}.json`);
  }
}

function isReceipt(receipt: unknown): receipt is Receipt {
  if (typeof receipt !== "object" || receipt === null) return false;
  return "v" in receipt && receipt.v === 1 && "files" in receipt && Array.isArray(receipt.files);
}
