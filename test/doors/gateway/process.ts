/** A gateway in a process of its own, to be killed: says its address, and answers until then. */
import { createServer } from "node:http";
import { createImageClient, directoryJournal, openaiCompatible, shortapi } from "gpt-image-client";
import { createImageGateway, directoryStore } from "gpt-image-client/gateway";
import { authorize, listen } from "./support";

const { provider, access, directory, journal } = JSON.parse(process.argv[2] ?? "{}");
const client = createImageClient({
  provider: provider === "shortapi" ? shortapi(access) : openaiCompatible(access),
  ...(journal !== undefined && { journal: directoryJournal(journal) }),
});
const gateway = createImageGateway({
  models: { "gpt-image-2": client },
  authorize,
  store: directoryStore(directory),
  onError: (error) => console.error(error),
});
console.log(await listen(createServer(gateway.listener)));
