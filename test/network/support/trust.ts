import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { certificate } from "../../support/certificate";

/** Makes the tests' processes trust the tests' certificate: Node reads this variable as it starts. */
export async function setup(): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), "trust-"));
  const path = join(folder, "certificate.pem");
  await writeFile(path, certificate.cert);
  process.env.NODE_EXTRA_CA_CERTS = path;
  return () => rm(folder, { recursive: true, force: true });
}
