/** Measures every client and writes the table into docs/gateway.md: `npm run docs:gateway`. */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { tableOfAll } from "./table";

const page = fileURLToPath(new URL("../../../docs/gateway.md", import.meta.url));
const table = await tableOfAll();
console.log(table);
const place = /(<!-- the table of `npm run docs:gateway` -->\n)[\s\S]*?(<!-- its end -->)/;
const text = readFileSync(page, "utf8");
if (!place.test(text)) throw new Error("docs/gateway.md has no place for the table");
writeFileSync(
  page,
  text.replace(place, (_, start, end) => `${start}${table}\n${end}`),
);
process.exit();
