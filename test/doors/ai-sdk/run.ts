/** Measures both majors and writes the table into docs/ai-sdk.md: `npm run docs:ai-sdk`, on Node 22 or later. */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { tableOfBoth } from "./table";

const page = fileURLToPath(new URL("../../../docs/ai-sdk.md", import.meta.url));
const table = await tableOfBoth();
console.log(table);
const place = /(<!-- the table of `npm run docs:ai-sdk` -->\n)[\s\S]*?(<!-- its end -->)/;
const text = readFileSync(page, "utf8");
if (!place.test(text)) throw new Error("docs/ai-sdk.md has no place for the table");
writeFileSync(
  page,
  text.replace(place, (_, start, end) => `${start}${table}\n${end}`),
);
