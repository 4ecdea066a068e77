import { expect, test } from "vitest";
import { adapters, files, from, imports, isOurs, targets } from "../support/sources";

test("there are sources to look at, and imports in them", () => {
  expect(files.length).toBeGreaterThan(25);
  expect(imports.length).toBeGreaterThan(100);
  expect(adapters.length).toBeGreaterThanOrEqual(4);
});

/**
 * Each room, and the rooms that it may import, by value or by type. A room imports what stands above it in
 * this list alone, so that nothing points up and no two rooms need each other.
 */

const rooms = {
  async: [],
  cost: [],
  realm: [],
  sentences: [],
  types: ["cost", "realm", "sentences"],
  ledger: ["cost", "types"],
  errors: ["cost", "realm", "sentences", "types"],
  files: ["realm"],
  media: ["async", "files", "realm"],
  http: ["async", "media", "realm"],
  parse: ["realm"],
  adapter: ["async", "cost", "errors", "http", "media", "parse", "realm", "types"],
  provider: ["adapter", "async", "cost", "media", "parse", "types"],
  providers: ["provider"],
  capabilities: ["adapter"],
  api: ["adapter", "async", "cost", "errors", "http", "media", "types"],
  request: ["adapter", "async", "cost", "errors", "http", "media", "parse", "realm", "types"],
  result: [
    ...["adapter", "async", "cost", "errors", "files", "http", "media", "realm", "sentences"],
    "types",
  ],
  schedule: ["adapter", "async", "request", "types"],
  journal: [
    ...["adapter", "async", "cost", "errors", "files", "media", "parse"],
    ...["realm", "request", "types"],
  ],
  job: [
    ...["adapter", "api", "async", "cost", "errors", "files", "http", "journal", "media", "parse"],
    ...["realm", "request", "result", "schedule", "types"],
  ],
  "client-options": ["adapter", "async", "http", "journal", "request", "schedule", "types"],
  webhooks: ["adapter", "async", "client-options", "http", "job", "types"],
  runner: [
    ...["adapter", "api", "async", "client-options", "errors", "http", "job", "media", "request"],
    ...["result", "schedule", "types", "webhooks"],
  ],
  client: [
    ...["async", "capabilities", "client-options", "cost", "errors", "job", "journal", "request"],
    ...["runner", "types", "webhooks"],
  ],
  index: [
    ...["capabilities", "client", "client-options", "cost", "errors", "job", "journal", "ledger"],
    ...["provider", "providers", "realm", "request", "schedule", "types", "webhooks"],
  ],
  testing: ["client", "cost", "errors", "media", "provider", "request", "types"],
  // The command line alone knows the sandbox, and late: a test below says so.
  doors: ["files", "index", "testing"],
} as const satisfies Record<string, readonly string[]>;

const roomNames: readonly string[] = Object.keys(rooms);

const roomOf = (name: string) => name.split("/")[0] ?? name;

test("every file belongs to a room, and src has at most twelve of its own", () => {
  const names = files.map((name) => name.replace(/\.ts$/, ""));
  expect(names.filter((name) => !roomNames.includes(roomOf(name)))).toEqual([]);
  expect(names.filter((name) => !name.includes("/")).length).toBeLessThanOrEqual(12);
});

test("a room knows those above it in the list, and none below", () => {
  const upward = Object.entries(rooms).flatMap(([room, known]) =>
    known.filter((each) => roomNames.indexOf(each) >= roomNames.indexOf(room)),
  );
  expect(upward).toEqual([]);
});

test.each(Object.entries(rooms))("%s imports no room but its own and %j", (room, known) => {
  const strangers = imports.filter(({ from: name, to }) => {
    const target = roomOf(to);
    return (
      roomOf(name) === room &&
      isOurs(to) &&
      target !== room &&
      !known.some((each) => each === target)
    );
  });
  expect(strangers).toEqual([]);
});

test("HTTP, media and timing know no schema", () => {
  const strangers = imports.filter(
    ({ from: name, to }) => ["async", "http", "media"].includes(roomOf(name)) && /^zod/.test(to),
  );
  expect(strangers).toEqual([]);
});

test("the sender is loaded by the client alone, with the first call that sends", () => {
  const runners = imports.filter(({ to, typeOnly }) => to === "runner" && !typeOnly);
  expect(runners.map(({ from: name }) => name)).toEqual(["client"]);
});

test("zlib is not loaded with the package, nor with the first call", () => {
  const early = imports.filter(
    ({ from: name, to, typeOnly }) =>
      !["doors", "testing"].includes(roomOf(name)) && to === "node:zlib" && !typeOnly,
  );
  expect(early).toEqual([]);
  expect(targets("http/late-zlib")).toEqual(["async/lazy"]);
});

test("the contract of an adapter is types alone", () => {
  expect(from("adapter/contract").every(({ typeOnly }) => typeOnly)).toBe(true);
});

test.each(adapters)("%s imports zod and the contract, and nothing else", (adapter) => {
  expect(targets(adapter)).toEqual(["provider", "zod/mini"]);
});

test("the list of providers names every adapter and nothing more", () => {
  expect(targets("providers/index")).toEqual(adapters.toSorted());
});

test("the version of the package is known in one place", () => {
  expect(targets("http/user-agent")).toEqual(["../package.json"]);
  const readers = imports
    .filter(({ to }) => to === "../package.json")
    .map(({ from: name }) => name);
  expect(readers).toEqual(["http/user-agent"]);
});

test("the JSON of events knows their types and nothing else", () => {
  expect(from("api/event-json").every(({ typeOnly }) => typeOnly)).toBe(true);
});

test("the poller knows time alone: no HTTP, no schema, no provider", () => {
  expect(targets("schedule/poller")).toEqual(["async/clock", "async/turns"]);
});

test("a file format knows bytes alone, and what looks at images knows formats alone", () => {
  const formats = files.filter((name) => name.startsWith("media/formats/"));
  expect(formats.length).toBeGreaterThan(5);
  const below = formats.flatMap((name) => targets(name.replace(/\.ts$/, "")));
  expect(below.filter((to) => to !== "realm" && !to.startsWith("media/formats/"))).toEqual([]);
  expect(targets("media/format")).toEqual(["media/formats/svg"]);
  for (const name of ["media/measure", "media/image-inspection"]) {
    expect(
      targets(name).filter(
        (to) => !["media/format", "realm"].includes(to) && !to.startsWith("media/formats/"),
      ),
    ).toEqual([]);
  }
  expect(targets("media/own-bytes")).toEqual(["realm"]);
});

test("only the transport runs undici and p-retry", () => {
  const strangers = imports.filter(
    ({ from: name, to, typeOnly }) =>
      !typeOnly &&
      ((to === "p-retry" && name !== "async/retry") ||
        (/^undici(\/|$)/.test(to) && name !== "http/undici-files")),
  );
  expect(strangers).toEqual([]);
  expect(targets("async/retry")).toEqual(["p-retry"]);
  expect(targets("http/load-undici")).toEqual(["async/lazy", "http/undici-files"]);
  expect(targets("http/undici-files")).toEqual([
    ...["undici/lib/core/connect.js", "undici/lib/dispatcher/agent.js"],
    "undici/lib/dispatcher/client.js",
  ]);
});

test("zod is its mini build everywhere: the other takes twice as long to load", () => {
  const builds = imports.map(({ to }) => to).filter((to) => /^zod(\/|$)/.test(to));
  expect([...new Set(builds)].sort()).toEqual(["zod/mini", "zod/v4/core"]);
  // What both builds stand on: where it is used, the file says why.
  const users = imports.filter(({ to }) => to === "zod/v4/core").map(({ from: name }) => name);
  expect(users).toEqual(["parse/core-schemas"]);
});

test("nothing below testing knows of it", () => {
  const upward = imports.filter(
    ({ from: name, to }) =>
      to.startsWith("testing") && !name.startsWith("testing") && !name.startsWith("doors/"),
  );
  expect(upward).toEqual([]);
});

test("the sandbox is written from the pages, not from the adapters", () => {
  const shared = imports.filter(
    ({ from: name, to }) =>
      name.startsWith("testing/sandbox") && !to.startsWith("testing") && /^[a-z-]+(\/|$)/.test(to),
  );
  const ours = shared.filter(({ to }) => files.includes(`${to}.ts`));
  expect(ours).toEqual([]);
});

/** Where a door needs a package of somebody else's, which is then an optional peer. */

const doorPeers: Readonly<Record<string, string>> = {
  "doors/cli/sheet": "sharp",
  "doors/gateway/multipart": "@fastify/busboy",
};

test("a door knows the package's public face, its own files, how to make a directory, and one peer", () => {
  const doors = imports.filter(({ from: name }) => name.startsWith("doors/"));
  expect(doors.length).toBeGreaterThan(5);
  const beyond = doors.filter(({ from: name, to }) => {
    const own = name.split("/").slice(0, 2).join("/");
    const isPeer = to === doorPeers[name];
    const isOwn =
      ["index", "files/directories"].includes(to) ||
      to.startsWith(`${own}/`) ||
      to.startsWith("node:");
    return !isOwn && !isPeer && !(own === "doors/cli" && isFace(to));
  });
  expect(beyond).toEqual([]);
});

/** What a user of the package may import by its name. */

const isFace = (to: string) => /^(doors\/[a-z-]+|testing)\/index$/.test(to);

test("the command line loads another door, or the sandbox, with the command that needs it", () => {
  const others = imports.filter(
    ({ from: name, to }) => name.startsWith("doors/cli/") && isFace(to),
  );
  expect(others.length).toBeGreaterThan(1);
  expect(others.filter(({ typeOnly, late }) => !typeOnly && !late)).toEqual([]);
});

test("the help of the command line loads its words and nothing of the package", () => {
  const loaded = new Set<string>();
  const visit = (name: string): void => {
    if (loaded.has(name)) return;
    loaded.add(name);
    for (const { to, typeOnly, late } of from(name))
      if (isOurs(to) && !typeOnly && !late) visit(to);
  };
  visit("doors/cli/main");
  expect([...loaded].filter((name) => !name.startsWith("doors/cli/"))).toEqual([]);
});

test("nothing but a door knows a door: one that is not used loads nothing", () => {
  const entered = imports.filter(
    ({ from: name, to }) => to.startsWith("doors/") && !name.startsWith("doors/"),
  );
  expect(entered).toEqual([]);
});

test("nothing is imported in a circle, neither a value nor a type", () => {
  const circles: string[] = [];
  const done = new Set<string>();
  const visit = (name: string, path: readonly string[]): void => {
    if (path.includes(name)) {
      circles.push([...path.slice(path.indexOf(name)), name].join(" → "));
      return;
    }
    if (done.has(name)) return;
    for (const { to } of from(name)) if (isOurs(to)) visit(to, [...path, name]);
    done.add(name);
  };
  for (const name of files) visit(name.replace(/\.ts$/, ""), []);
  expect(circles).toEqual([]);
});
