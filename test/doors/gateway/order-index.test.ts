import { expect, test } from "vitest";
import { Order } from "../../../src/doors/gateway/order";
import { OrderIndex, OrderLists } from "../../../src/doors/gateway/order-index";
import { youngGrowthOf } from "../../support/young-garbage";

function orderOf(id: string): Order {
  const model = "gpt-image-2";
  return new Order({ v: 1, id, caller: "c", digest: "d", ordinal: 1, model, orderedAt: 0 });
}

test("orders are collected once they are forgotten, while they are young", () => {
  const index = new OrderIndex();
  const growth = youngGrowthOf((ballast, ordinal) => {
    const id = String(ordinal);
    index.set(id, Object.assign(orderOf(id), { ballast }));
    return () => index.delete(id);
  });
  expect(growth).toBeLessThan(4_000_000);
});

test("an order is found by its name until it is taken out", () => {
  const index = new OrderIndex();
  const order = orderOf("one");
  index.set("one", order);
  expect(index.get("one")).toBe(order);
  index.delete("another");
  expect(index.get("one")).toBe(order);
  index.delete("one");
  expect(index.get("one")).toBeUndefined();
});

test("of equal orders the oldest that is left is given", () => {
  const lists = new OrderLists();
  const [first, second, third] = [orderOf("1"), orderOf("2"), orderOf("3")];
  for (const order of [first, second, third]) lists.add(order);
  lists.delete(second);
  expect(lists.oldestOf(first.slot)).toBe(first);
  lists.delete(first);
  expect(lists.oldestOf(first.slot)).toBe(third);
  lists.delete(third);
  expect(lists.oldestOf(first.slot)).toBeUndefined();
});
