/** One of several gateways over one database, to be killed: says its address, and answers until then. */
import { createServer } from "node:http";
import { createImageClient, openaiCompatible, shortapi } from "gpt-image-client";
import { createImageGateway } from "gpt-image-client/gateway";
import {
  createPostgresGatewayStore,
  createPostgresJournal,
  migrate,
} from "gpt-image-client/postgres";
import { Pool } from "pg";
import { authorize, listen } from "../doors/gateway/support";

const { provider, access, directory, url, leaseMs } = JSON.parse(process.argv[2] ?? "{}");
const pool = new Pool({ connectionString: url, max: 4 });
await migrate(pool);
const client = createImageClient({
  provider: provider === "shortapi" ? shortapi(access) : openaiCompatible(access),
  journal: createPostgresJournal(pool),
});
const gateway = createImageGateway({
  models: { "gpt-image-2": client },
  authorize,
  store: createPostgresGatewayStore(pool, { directory, leaseMs }),
  // Gateways that are stopped for a while are what this is about.
  onError: () => {},
});
console.log(await listen(createServer(gateway.listener)));
