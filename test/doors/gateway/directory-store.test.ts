import { directoryStore } from "gpt-image-client/gateway";
import { expect, test } from "vitest";
import { orderRecord, storeContract } from "./store-contract";

storeContract("directoryStore", () => ({ open: directoryStore }));

test("what is no path is refused, and an id that would lead out of the directory", async () => {
  // As JavaScript may give it.
  expect(() => Reflect.apply(directoryStore, undefined, [7])).toThrow(TypeError);
  const store = directoryStore("nowhere");
  const strange = { ...orderRecord(1), id: "../../etc/passwd" };
  await expect(store.put(strange)).rejects.toThrow(/no id of an order/);
  await expect(store.delete("..")).rejects.toThrow(/no id of an order/);
});
