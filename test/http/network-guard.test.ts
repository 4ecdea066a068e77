import dns from "node:dns";
import net from "node:net";
import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import {
  assertPublicHost,
  BlockedAddressError,
  createGuardedLookup,
  isPublicAddress,
  type Lookup,
  urlProblem,
} from "../../src/http/network-guard";

afterEach(() => {
  vi.restoreAllMocks();
});

/** First and last address of each range, as numbers. */
const BLOCKED_RANGES = {
  "this network": ["0.0.0.0", "0.255.255.255"],
  "private 10/8": ["10.0.0.0", "10.255.255.255"],
  "carrier-grade NAT": ["100.64.0.0", "100.127.255.255"],
  loopback: ["127.0.0.0", "127.255.255.255"],
  "Azure's host agent": ["168.63.129.16", "168.63.129.16"],
  "link-local": ["169.254.0.0", "169.254.255.255"],
  "private 172.16/12": ["172.16.0.0", "172.31.255.255"],
  "protocol assignments": ["192.0.0.0", "192.0.0.255"],
  "test net 1": ["192.0.2.0", "192.0.2.255"],
  "6to4 relays": ["192.88.99.0", "192.88.99.255"],
  "private 192.168/16": ["192.168.0.0", "192.168.255.255"],
  benchmarking: ["198.18.0.0", "198.19.255.255"],
  "test net 2": ["198.51.100.0", "198.51.100.255"],
  "test net 3": ["203.0.113.0", "203.0.113.255"],
  multicast: ["224.0.0.0", "239.255.255.255"],
  "reserved and broadcast": ["240.0.0.0", "255.255.255.255"],
} as const;

const toNumber = (address: string) =>
  address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
const toDotted = (value: number) =>
  [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
const toGroups = (value: number) =>
  `${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`;

const ranges = Object.entries(BLOCKED_RANGES).map(([name, [first, last]]) => ({
  name,
  first: toNumber(first),
  last: toNumber(last),
}));
const isBlockedNumber = (value: number) =>
  ranges.some(({ first, last }) => value >= first && value <= last);

/** Every way to write an IPv4 address within a longer one that leads to it. */
const embeddings = (value: number) => [
  `::ffff:${toDotted(value)}`,
  `::ffff:${toGroups(value)}`,
  `::FFFF:${toGroups(value).toUpperCase()}`,
  `0:0:0:0:0:ffff:${toGroups(value)}`,
  `0000:0000:0000:0000:0000:ffff:${toDotted(value)}`,
  `64:ff9b::${toDotted(value)}`,
  `64:ff9b::${toGroups(value)}`,
  `64:ff9b:0:0:0:0:${toGroups(value)}`,
  `2002:${toGroups(value)}::`,
  `2002:${toGroups(value)}::1`,
  `2002:${toGroups(value)}:1:2:3:4:5`,
];

test.each(ranges)("$name is refused in every spelling", ({ first, last }) => {
  fc.assert(
    fc.property(fc.integer({ min: first, max: last }), (value) => {
      for (const address of [toDotted(value), ...embeddings(value), `::${toDotted(value)}`]) {
        expect([address, isPublicAddress(address)]).toEqual([address, false]);
        const host = net.isIPv6(address) ? `[${address}]` : address;
        expect(urlProblem(new URL(`http://${host}/a.png`))).toBeTypeOf("string");
      }
    }),
    { examples: [[first], [last]] },
  );
});

test.each(ranges)("the neighbours of $name are judged by themselves", ({ first, last }) => {
  for (const value of [first - 1, last + 1]) {
    if (value < 0 || value > 0xffffffff) continue;
    expect([toDotted(value), isPublicAddress(toDotted(value))]).toEqual([
      toDotted(value),
      !isBlockedNumber(value),
    ]);
  }
});

test("any other IPv4 address is public, alone or embedded", () => {
  const values = fc.integer({ min: 0, max: 0xffffffff }).filter((value) => !isBlockedNumber(value));
  fc.assert(
    fc.property(values, (value) => {
      for (const address of [toDotted(value), ...embeddings(value)]) {
        expect([address, isPublicAddress(address)]).toEqual([address, true]);
      }
    }),
  );
});

test.each([
  "1.1.1.1",
  "8.8.8.8",
  "93.184.216.34",
  "172.15.255.255",
  "172.32.0.1",
  "100.63.255.255",
  "100.128.0.1",
  "169.253.1.1",
  "198.20.0.1",
  "223.255.255.255",
  "2606:4700:4700::1111",
  "2001:4860:4860::8888",
  "2a00:1450:4001:82a::200e",
  "2600::",
  "64:ff9b::8.8.8.8",
  "::ffff:1.1.1.1",
])("%s is public", (address) => {
  expect(isPublicAddress(address)).toBe(true);
});

test.each([
  "::",
  "::1",
  "0:0:0:0:0:0:0:1",
  "::8.8.8.8",
  "::ffff:0:8.8.8.8",
  "64:ff9b:1::8.8.8.8",
  "100::1",
  "fc00::1",
  "fd00:ec2::254",
  "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
  "fe80::1",
  "febf::1",
  "fec0::1",
  "ff02::1",
  "2001::1",
  "2001:db8::1",
  "3fff::1",
  "4000::1",
  "5f00::1",
])("%s is not public", (address) => {
  expect(isPublicAddress(address)).toBe(false);
});

test.each([
  "",
  "localhost",
  "example.com",
  "8.8.8",
  "8.8.8.8.",
  " 8.8.8.8",
  "8.8.8.8\n",
  "08.8.8.8",
  "256.1.1.1",
  "0x8.8.8.8",
  "134744072",
  "8.8.8.8:80",
  "[2606:4700::1111]",
  "2606:4700::1111%eth0",
  "fe80::1%eth0",
  "2606:4700:::1",
  "::ffff:8.8.8.256",
])("%j is no IP address, and so not public", (address) => {
  expect(isPublicAddress(address)).toBe(false);
});

test("no string makes the check throw", () => {
  const nearly = fc.string({ unit: fc.constantFrom(..."0123456789abcdef:.%[]x") });
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "binary" }), nearly, fc.ipV6()), (address) => {
      expect(isPublicAddress(address)).toBeTypeOf("boolean");
    }),
    { numRuns: 1000 },
  );
});

test.each([
  "https://example.com/a.png",
  "http://example.com:8080/a.png",
  "https://8.8.8.8/a.png",
  "https://[2606:4700::1111]/a.png",
  "https://localhost.example.com/",
  "https://notlocalhost/",
  "https://127.0.0.1.nip.io/",
])("%s has no problem in its text", (url) => {
  expect(urlProblem(new URL(url))).toBeUndefined();
});

test.each([
  "file:///etc/passwd",
  "ftp://example.com/",
  "data:,a",
  "blob:https://a/b",
  "gopher://a/",
])("the scheme of %s is refused", (url) => {
  expect(urlProblem(new URL(url))).toMatch(/^The scheme must be http or https, not [a-z]+\.$/);
});

test("credentials are refused, and not repeated", () => {
  for (const url of ["https://user:hunter2@example.com/", "https://:hunter2@example.com/"]) {
    const problem = urlProblem(new URL(url));
    expect(problem).toBe("The URL of example.com may not carry a user name or password.");
  }
});

test.each([
  "http://127.0.0.1/",
  "http://127.0.0.1./",
  "http://127.1/",
  "http://0x7f.1/",
  "http://2130706433/",
  "http://017700000001/",
  "http://0/",
  "http://①②⑦.0.0.1/",
  "http://169.254.169.254/latest/meta-data/",
  "http://[::1]/",
  "http://[::ffff:7f00:1]/",
  "http://[::ffff:127.0.0.1]/",
  "http://[0:0:0:0:0:0:0:1]:8080/",
  "http://localhost/",
  "http://localhost./",
  "http://localhost../",
  "http://LOCALHOST:3000/",
  "http://app.localhost/",
])("%s is refused by its host, and by the lookup too", async (text) => {
  const url = new URL(text);
  expect(urlProblem(url)).toContain("not an address of the public internet");
  const lookup = vi.fn<Lookup>();
  await expect(assertPublicHost(url, lookup)).rejects.toBeInstanceOf(BlockedAddressError);
  expect(lookup).not.toHaveBeenCalled();
});

const addressesOf = (...addresses: string[]): dns.LookupAddress[] =>
  addresses.map((address) => ({ address, family: net.isIP(address) }));

const answering = (...addresses: string[]) =>
  vi.fn<Lookup>((_hostname, _options, callback) => callback(null, addressesOf(...addresses)));

const failing = (code: string) =>
  vi.fn<Lookup>((_hostname, _options, callback) =>
    callback(Object.assign(new Error(code), { code }), []),
  );

const guarded = (lookup: Lookup, options: dns.LookupOptions) =>
  new Promise<unknown[]>((resolve) => {
    createGuardedLookup(lookup)("cdn.example", options, (...response) => resolve(response));
  });

test("the guarded lookup answers one address, or all, as asked", async () => {
  const lookup = answering("2606:4700::1111", "1.1.1.1");
  expect(await guarded(lookup, {})).toEqual([null, "2606:4700::1111", 6]);
  expect(await guarded(lookup, { all: false })).toEqual([null, "2606:4700::1111", 6]);
  expect(await guarded(lookup, { all: true })).toEqual([
    null,
    addressesOf("2606:4700::1111", "1.1.1.1"),
  ]);
});

test("the guarded lookup passes the family and hints on", async () => {
  const lookup = answering("1.1.1.1");
  await guarded(lookup, { family: 4, hints: dns.ADDRCONFIG });
  expect(lookup).toHaveBeenCalledWith(
    "cdn.example",
    { family: 4, hints: dns.ADDRCONFIG, all: true },
    expect.any(Function),
  );
});

test.each([[["10.0.0.7"]], [["1.1.1.1", "10.0.0.7"]], [["2606:4700::1111", "::ffff:10.0.0.7"]]])(
  "one address that is not public among %j blocks the host",
  async (addresses) => {
    for (const all of [true, false]) {
      const [error] = await guarded(answering(...addresses), { all });
      expect(error).toBeInstanceOf(BlockedAddressError);
      expect(error).toMatchObject({
        name: "BlockedAddressError",
        hostname: "cdn.example",
        address: addresses.at(-1),
        message: `cdn.example leads to ${addresses.at(-1)}, which is not an address of the public internet (\`allowPrivateNetwork\` lets it through).`,
      });
    }
  },
);

test("the guarded lookup hands the resolver's own error on", async () => {
  expect(await guarded(failing("EAI_AGAIN"), {})).toMatchObject([{ code: "EAI_AGAIN" }, []]);
});

test("a response without addresses is a host that is not found", async () => {
  expect(await guarded(answering(), {})).toMatchObject([{ code: "ENOTFOUND" }, []]);
});

test("a socket is torn down before it connects to a blocked address", async () => {
  const accepted = vi.fn();
  const server = net.createServer((socket) => {
    accepted();
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  for (const autoSelectFamily of [true, false]) {
    const lookup = createGuardedLookup(answering("127.0.0.1"));
    const socket = net.connect({ host: "rebound.example", port, lookup, autoSelectFamily });
    const error = await new Promise((resolve) => socket.once("error", resolve));
    expect(error).toBeInstanceOf(BlockedAddressError);
  }
  expect(accepted).not.toHaveBeenCalled();
  await new Promise((resolve) => server.close(resolve));
});

test("the resolver is dns.lookup unless another is given", async () => {
  const error = await new Promise((resolve) => {
    createGuardedLookup()("127.0.0.1", {}, resolve);
  });
  expect(error).toBeInstanceOf(BlockedAddressError);
  vi.spyOn(dns, "lookup").mockImplementation(() => {
    throw new Error("looked up");
  });
  await expect(assertPublicHost(new URL("https://cdn.example/"))).rejects.toThrow("looked up");
});

test("a host with public addresses alone passes, and its dot at the end is not looked up", async () => {
  const lookup = answering("1.1.1.1", "2606:4700::1111");
  await expect(assertPublicHost(new URL("https://cdn.example./"), lookup)).resolves.toBeUndefined();
  expect(lookup.mock.calls[0]?.[0]).toBe("cdn.example");
});

test("a host with any private address does not pass", async () => {
  await expect(
    assertPublicHost(new URL("https://cdn.example/"), answering("1.1.1.1", "fd00:ec2::254")),
  ).rejects.toMatchObject({ name: "BlockedAddressError", address: "fd00:ec2::254" });
});

test("a public IP literal passes without a lookup", async () => {
  const lookup = answering("10.0.0.1");
  await assertPublicHost(new URL("https://8.8.8.8/"), lookup);
  await assertPublicHost(new URL("https://[2606:4700::1111]/"), lookup);
  expect(lookup).not.toHaveBeenCalled();
});

test.each(["ENOTFOUND", "EAI_AGAIN"])("a name that ends in %s passes", async (code) => {
  await expect(
    assertPublicHost(new URL("https://cdn.example/"), failing(code)),
  ).resolves.toBeUndefined();
});
