/** No name in the DNS is longer (RFC 1035); with the dot at its end it has one more. */
const longestHost = 254;

/**
 * Whether a host can exist at all, by its length. `URL` takes any, and what is done with a host after
 * that (resolving it, putting it in a message) is not meant for a stranger's 200 KB.
 */
export function isPossibleHost({ hostname }: URL): boolean {
  return hostname.length <= longestHost;
}
