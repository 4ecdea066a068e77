import { isImageError } from "gpt-image-client";
import type { SandboxFault, SandboxFaultKind, SandboxOptions } from "gpt-image-client/testing";
import { measureOurs, measureOwn, type Outcome } from "./faults";
import { type Major, majors } from "./majors";

/** What is compared: how a reader calls it, and the fault or the setting of the sandbox. */
interface Case {
  readonly title: string;
  readonly fault?: SandboxFaultKind;
  /** How many requests it hits; default all. */
  readonly times?: number;
  readonly options?: SandboxOptions;
}

const cases: readonly Case[] = [
  { title: "none" },
  { title: "reset before the order was taken", fault: { fault: "reset-before-acceptance" } },
  { title: "reset after it was taken", fault: { fault: "reset-after-acceptance" } },
  {
    title: "the same, once",
    fault: { fault: "reset-after-acceptance" },
    times: 1,
  },
  { title: "a gateway's 502 page, the order taken", fault: { fault: "accepted-but-unavailable" } },
  { title: "a gateway's 503 page", fault: { fault: "unavailable" } },
  { title: "500 of the provider", fault: { fault: "unavailable", status: 500, ownBody: true } },
  // Longer than anybody here waits: otherwise the time-out may meet a try that is under way.
  { title: "429", fault: { fault: "rate-limited", retryAfterSeconds: 3_600 } },
  { title: "the response breaks off", fault: { fault: "truncated" } },
  { title: "a response that is half its JSON", fault: { fault: "malformed" } },
  { title: "200 without an image", fault: { fault: "no-image" } },
  { title: "one image of two", fault: { fault: "fewer-images", images: 1 } },
  { title: "URLs in place of base64", options: { openaiAnswers: "url" } },
  { title: "moderated, by the output", fault: { fault: "moderation" } },
  { title: "the generation failed", fault: { fault: "failure" } },
  { title: "no money left (402)", fault: { fault: "refusal", status: 402 } },
  { title: "307 to elsewhere", fault: { fault: "redirect", location: "http://127.0.0.1:9/" } },
  { title: "no response, until somebody gives up", fault: { fault: "hang" } },
];

/** What came of a case for our model and for the SDK's own, in one major. */
export interface Row {
  readonly title: string;
  readonly ours: Outcome;
  readonly own: Outcome;
}

/** All cases at once, each with a server of its own: the SDK's waits between its tries are long. */
export async function compare(major: Major): Promise<Row[]> {
  return Promise.all(
    cases.map(async ({ title, fault: kind, times = Infinity, options }) => {
      const fault: SandboxFault | undefined = kind && {
        ...{ provider: "openaiCompatible", phase: "create", times },
        ...kind,
      };
      const [ours, own] = await Promise.all([
        measureOurs(major, fault, options),
        measureOwn(major, fault, options),
      ]);
      return { title, ours, own };
    }),
  );
}

const said = ({ purchases, delivered }: Outcome) => `${purchases} / ${delivered}`;

/** What of a table one major fills in, by the title of the case. */
export const cellsOf = ({ ours, own }: Row) => ({
  ours: `${said(ours)} | ${isImageError(ours.error) ? `\`${ours.error.code}\`, \`${ours.charged}\`` : ""}`,
  own: said(own),
});

/** The table, from a run of both majors: purchases on the server, and images that reached the caller. */
export async function tableOfBoth(): Promise<string> {
  const [six, seven] = await Promise.all(majors.map(compare));
  if (six === undefined || seven === undefined) throw new Error("`ai` 7 needs Node 22 or later");
  const head =
    "| while it lasts | `imageModel(client)` | its error, `charged` | `ai` 6 alone | `ai` 7 alone |";
  const rows = six.map((row, index) => {
    const other = seven[index];
    if (other === undefined) throw new Error(`no row ${row.title}`);
    const { ours, own } = cellsOf(row);
    if (cellsOf(other).ours !== ours) throw new Error(`${row.title}: the majors differ`);
    return `| ${row.title} | ${ours} | ${own} | ${cellsOf(other).own} |`;
  });
  return [head, "| --- | --- | --- | --- | --- |", ...rows].join("\n");
}
