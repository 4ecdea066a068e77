import dns from "node:dns";
import net from "node:net";
import { once } from "../async/lazy";
import { isPossibleHost } from "./host";

/** IPv4 ranges that are not the public internet (IANA's special-purpose registry, and one more). */
const BLOCKED_IPV4: readonly (readonly [string, number])[] = [
  ["0.0.0.0", 8], // this network
  ["10.0.0.0", 8], // private
  ["100.64.0.0", 10], // shared by carriers (CGNAT)
  ["127.0.0.0", 8], // loopback
  ["168.63.129.16", 32], // Azure's host agent: a public number, answered only inside a machine
  ["169.254.0.0", 16], // link-local, and the clouds' metadata services
  ["172.16.0.0", 12], // private
  ["192.0.0.0", 24], // protocol assignments
  ["192.0.2.0", 24], // documentation
  ["192.88.99.0", 24], // 6to4 relays
  ["192.168.0.0", 16], // private
  ["198.18.0.0", 15], // benchmarking
  ["198.51.100.0", 24], // documentation
  ["203.0.113.0", 24], // documentation
  ["224.0.0.0", 4], // multicast
  ["240.0.0.0", 4], // reserved, and broadcast
];

/** The only IPv6 block that is given out as public: all the rest is refused unseen. */
const PUBLIC_IPV6: readonly [string, number] = ["2000::", 3];

/** What is special within that block. */
const BLOCKED_IPV6: readonly (readonly [string, number])[] = [
  ["2001::", 23], // protocol assignments, among them Teredo
  ["2001:db8::", 32], // documentation
  ["3fff::", 20], // documentation
];

const guardLists = once(() => {
  const blocked = new net.BlockList();
  for (const [network, prefix] of BLOCKED_IPV4) blocked.addSubnet(network, prefix, "ipv4");
  for (const [network, prefix] of BLOCKED_IPV6) blocked.addSubnet(network, prefix, "ipv6");
  const publicIpv6 = new net.BlockList();
  publicIpv6.addSubnet(...PUBLIC_IPV6, "ipv6");
  return { blocked, publicIpv6 };
});

/** The eight 16-bit groups of a valid IPv6 address without a zone. */
const ipv6Groups = (address: string): readonly number[] => {
  const hexadecimal = address.replace(
    /(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/,
    (_, a, b, c, d) =>
      `${(Number(a) * 256 + Number(b)).toString(16)}:${(Number(c) * 256 + Number(d)).toString(16)}`,
  );
  const [head = [], tail = []] = hexadecimal.split("::").map((half) =>
    half
      .split(":")
      .filter(Boolean)
      .map((group) => Number.parseInt(group, 16)),
  );
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => 0);
  return [...head, ...zeros, ...tail];
};

const dotted = (high = 0, low = 0): string =>
  [high >> 8, high & 255, low >> 8, low & 255].join(".");

/**
 * The IPv4 address that an IPv6 one leads to: mapped (`::ffff:a.b.c.d`), NAT64 (`64:ff9b::/96`,
 * what an IPv6-only network's resolver answers for IPv4 hosts) or 6to4 (`2002::/16`).
 */
const embeddedIpv4 = (address: string): string | undefined => {
  const groups = ipv6Groups(address);
  const prefix = groups.slice(0, 6).join();
  if (prefix === [0, 0, 0, 0, 0, 0xffff].join() || prefix === [0x64, 0xff9b, 0, 0, 0, 0].join()) {
    return dotted(groups[6], groups[7]);
  }
  return groups[0] === 0x2002 ? dotted(groups[1], groups[2]) : undefined;
};

/**
 * Whether an IP address is one of the public internet.
 *
 * False for private, loopback, link-local (also the clouds' 169.254.169.254), shared, test,
 * multicast and reserved ranges, for IPv6 addresses that embed one of those, and for anything that
 * is not an IP address, brackets and zones (`fe80::1%eth0`) included.
 */
export function isPublicAddress(address: string): boolean {
  const { blocked, publicIpv6 } = guardLists();
  if (net.isIPv4(address)) return !blocked.check(address, "ipv4");
  if (!net.isIPv6(address) || address.includes("%")) return false;
  const embedded = embeddedIpv4(address);
  if (embedded !== undefined) return !blocked.check(embedded, "ipv4");
  return publicIpv6.check(address, "ipv6") && !blocked.check(address, "ipv6");
}

/** A host turned out to lead to an address that a stranger's URL may not reach. */
export class BlockedAddressError extends Error {
  override readonly name = "BlockedAddressError";
  readonly hostname: string;
  /** The first address found that is not public. */
  readonly address: string;

  constructor(hostname: string, address: string) {
    super(
      `${hostname} leads to ${address}, which is not an address of the public internet ` +
        "(`allowPrivateNetwork` lets it through).",
    );
    this.hostname = hostname;
    this.address = address;
  }
}

/** The host as resolvers write it: no brackets around IPv6, no dots at the end. */
const hostOf = ({ hostname }: URL): string => {
  if (hostname.startsWith("[")) return hostname.slice(1, -1);
  // Not by `/\.+$/`, which looks for the end anew from each dot: 200 KB of dots took 21 s.
  let end = hostname.length;
  while (hostname[end - 1] === ".") end -= 1;
  return hostname.slice(0, end);
};

const isLocalhost = (host: string): boolean => /(^|\.)localhost$/i.test(host);

/** What is wrong with a host by its spelling alone. */
const blockedHost = (host: string): BlockedAddressError | undefined => {
  if (net.isIP(host) !== 0 && !isPublicAddress(host)) return new BlockedAddressError(host, host);
  // RFC 6761 gives these names to loopback, whatever a resolver answers.
  return isLocalhost(host) ? new BlockedAddressError(host, "127.0.0.1") : undefined;
};

/**
 * What is wrong with a stranger's URL, by its text alone, in a sentence that repeats no credentials;
 * undefined when nothing is. Names are not resolved here: see {@link createGuardedLookup} and
 * {@link assertPublicHost}. Numbers in disguise (`http://0x7f.1`) are seen through, because `URL`
 * has already written them out.
 */
export function urlProblem(url: URL): string | undefined {
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    return `The scheme must be http or https, not ${url.protocol.slice(0, -1)}.`;
  }
  if (!isPossibleHost(url)) return `A host of ${url.hostname.length} characters cannot exist.`;
  if (url.username !== "" || url.password !== "") {
    return `The URL of ${url.hostname} may not carry a user name or password.`;
  }
  return blockedHost(hostOf(url))?.message;
}

/** As much of `dns.lookup` as is called here; `dns.lookup` itself is one. */
export type Lookup = (
  hostname: string,
  options: dns.LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: dns.LookupAddress[]) => void,
) => void;

/**
 * A drop-in for `dns.lookup`, for `net.connect({ lookup })`, that answers with a
 * {@link BlockedAddressError} when any address of the host is not public.
 *
 * The check is on the very addresses that are then connected to, so that a name which answers
 * differently the second time (DNS rebinding) gains nothing. Sockets skip the lookup for IP
 * literals: check the URL with {@link urlProblem} too.
 *
 * @param lookup resolves the name; `dns.lookup` when absent
 */
export function createGuardedLookup(lookup: Lookup = dns.lookup): net.LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, []);
      const blocked = addresses.find(({ address }) => !isPublicAddress(address));
      if (blocked) return callback(new BlockedAddressError(hostname, blocked.address), []);
      if (options.all) return callback(null, addresses);
      const [first] = addresses;
      if (first) return callback(null, first.address, first.family);
      callback(Object.assign(new Error(`No address for ${hostname}`), { code: "ENOTFOUND" }), []);
    });
  };
}

/**
 * The same rules for a transport that resolves names by itself (the user's `fetch` or dispatcher, a
 * proxy): one lookup of our own beforehand. It cannot see what the transport will resolve later.
 *
 * A name that does not resolve here passes: behind a proxy that is normal, and elsewhere the
 * transport fails by itself. Scheme and credentials are {@link urlProblem}'s to check.
 *
 * @throws BlockedAddressError when the host is, or any of its addresses is, not public
 */
export async function assertPublicHost(url: URL, lookup: Lookup = dns.lookup): Promise<void> {
  const host = hostOf(url);
  const blocked = blockedHost(host);
  if (blocked) throw blocked;
  if (net.isIP(host) !== 0) return;
  await new Promise<void>((resolve, reject) => {
    createGuardedLookup(lookup)(host, { all: true }, (error) =>
      error instanceof BlockedAddressError ? reject(error) : resolve(),
    );
  });
}
