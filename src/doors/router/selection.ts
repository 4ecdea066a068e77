import {
  type Amount,
  CallbackError,
  type ImageError,
  type ImageRequest,
  InvalidRequestError,
  UnsupportedError,
} from "../../index";
import type { Member, Members } from "./members";
import type { Rates } from "./money";
import { requestFor, strayOption } from "./provider-options";
import { withFailures } from "./rules";
import type { ImageRouterOptions, RouteCandidate } from "./types";

/** A client that can do a request, with the request as it is given to it. */
export interface Candidate<Request extends ImageRequest = ImageRequest> {
  readonly member: Member;
  readonly request: Request;
  /** The list price, or the assumed one. */
  readonly estimate?: Amount | undefined;
}

/** A client that is not asked. */
export interface Skipped {
  readonly member: Member;
  readonly problems: readonly ImageError[];
  readonly reason: string;
}

/** Who can do a request, and who cannot. */
export interface Selection<Request extends ImageRequest = ImageRequest> {
  readonly candidates: readonly Candidate<Request>[];
  readonly skipped: readonly Skipped[];
}

/** Who chooses among clients. */
export interface Chooser {
  readonly name: string;
  readonly members: Members;
  readonly sort: ImageRouterOptions["sort"];
  readonly assume: Amount | undefined;
  readonly rates: Rates;
  /** From 0 up to 1. */
  random(): number;
}

/** Who can do a request, by each client's own check; nothing is sent. */
export function select<Request extends ImageRequest>(
  request: Request,
  { members, assume }: Pick<Chooser, "members" | "assume">,
): Selection<Request> {
  const stray = strayOption(request, members.all);
  if (stray !== undefined) throw stray;
  const candidates: Candidate<Request>[] = [];
  const skipped: Skipped[] = [];
  for (const member of members.all) {
    const own = requestFor(request, member);
    const problems = member.client.check(own);
    if (problems.length > 0) {
      skipped.push({ member, problems, reason: problems.map(({ message }) => message).join(" ") });
    } else if (isFor(member, request)) {
      candidates.push({ member, request: own, estimate: priceOf(member, own, assume) });
    } else {
      skipped.push({
        member,
        problems,
        reason: "Its `when` says that it is not for this request.",
      });
    }
  }
  return { candidates, skipped };
}

/** A client that has the order already, whatever it says of the request by now. */
export function candidateFor<Request extends ImageRequest>(
  member: Member,
  request: Request,
  { assume }: Pick<Chooser, "assume">,
): Candidate<Request> {
  const own = requestFor(request, member);
  return { member, request: own, estimate: priceOf(member, own, assume) };
}

function isFor({ name, when }: Member, request: ImageRequest): boolean {
  return when === undefined || called("when", () => when(request), name);
}

function priceOf(
  { client, assume }: Member,
  request: ImageRequest,
  general: Amount | undefined,
): Amount | undefined {
  const listed = client.estimate(request);
  if (listed !== undefined) return { amount: listed.amount, unit: listed.unit };
  const each = assume ?? general;
  return each && { amount: each.amount * (request.n ?? 1), unit: each.unit };
}

/** The order in which candidates are asked. */
export function inOrder<Request extends ImageRequest>(
  candidates: readonly Candidate<Request>[],
  request: ImageRequest,
  chooser: Chooser,
): readonly Candidate<Request>[] {
  const { sort = "order", members, rates } = chooser;
  const drawn = members.isWeighted ? draw(candidates, chooser) : candidates;
  if (sort === "order") return drawn;
  if (sort === "price") {
    const unit = drawn.find(({ estimate }) => estimate !== undefined)?.estimate?.unit ?? "";
    // What has no price, or none that can be compared, comes last.
    const priceIn = ({ estimate }: Candidate) =>
      (estimate && rates.convert(estimate, unit))?.amount ?? Number.POSITIVE_INFINITY;
    // A stable sort: the order of the list decides between equal prices.
    return drawn.toSorted((a, b) => compare(priceIn(a), priceIn(b)));
  }
  const shown = new Map(drawn.map((each) => [shownAs(each), each] as const));
  const sorted: unknown = called("sort", () => sort([...shown.keys()], request));
  if (!Array.isArray(sorted)) {
    const cause = new TypeError("It gave no list of candidates");
    throw new CallbackError({ charged: "no", callback: "sort", cause });
  }
  return [...new Set(sorted)].flatMap((each: RouteCandidate) => shown.get(each) ?? []);
}

function shownAs({ member, estimate }: Candidate): RouteCandidate {
  const { name, client, weight } = member;
  return { name, client, weight, ...(estimate !== undefined && { estimate }) };
}

const compare = (a: number, b: number) => (a === b ? 0 : a < b ? -1 : 1);

/** Draws one after another, each as likely as its weight is of those that are left; without any last. */
function draw<Request extends ImageRequest>(
  candidates: readonly Candidate<Request>[],
  { random }: Chooser,
): readonly Candidate<Request>[] {
  const left = candidates.filter(({ member }) => member.weight > 0);
  const drawn: Candidate<Request>[] = [];
  while (left.length > 0) {
    let point = random() * left.reduce((sum, { member }) => sum + member.weight, 0);
    const found = left.findIndex(({ member }) => {
      point -= member.weight;
      return point < 0;
    });
    drawn.push(...left.splice(Math.max(0, found), 1));
  }
  return [...drawn, ...candidates.filter(({ member }) => member.weight === 0)];
}

/** What none can do, in one error that lists for each client what it lacks. */
export function noneCan(name: string, skipped: readonly Skipped[]): ImageError {
  const all = skipped.flatMap(({ problems }) => problems);
  const [first] = all;
  const [own] = skipped;
  // What is wrong with the request whoever the client is, or what the only client says, is said as it is.
  const isWrong = skipped.every(({ problems }) => problems[0] instanceof InvalidRequestError);
  if (first !== undefined && (isWrong || skipped.length === 1)) {
    return withFailures(first, own?.problems.slice(1) ?? []);
  }
  return new UnsupportedError({
    provider: name,
    charged: "no",
    field: first?.field ?? "request",
    given: first instanceof UnsupportedError ? first.given : "this request",
    taken: "what one of the clients can do",
    detail: skipped.map(({ member, reason }) => `${member.name}: ${reason}`).join(" "),
    failures: all,
  });
}

/** Calls a function of the user's. */
export function called<Value>(callback: string, work: () => Value, client?: string): Value {
  try {
    return work();
  } catch (cause) {
    throw new CallbackError({ provider: client, charged: "no", callback, cause });
  }
}
