import { afterEach, expect, test, vi } from "vitest";
import { ProxyError } from "../../src/http/faults";
import { proxyFor } from "../../src/http/proxy-environment";
import { stubProxies } from "../support/proxy";

afterEach(() => vi.unstubAllEnvs());

const https = new URL("https://provider.example/v1");
const http = new URL("http://provider.example/v1");

/** What the https URL is given: a proxy, or an error. */
function outcome(): unknown {
  try {
    return proxyFor(https);
  } catch (error) {
    return error;
  }
}

test.for([
  [{}, undefined, undefined],
  [{ HTTPS_PROXY: "http://p:1" }, undefined, "http://p:1"],
  [{ HTTP_PROXY: "http://p:1" }, "http://p:1", "http://p:1"],
  [{ http_proxy: "http://p:1", HTTP_PROXY: "http://q:1" }, "http://p:1", "http://p:1"],
  [{ HTTP_PROXY: "http://p:1", HTTPS_PROXY: "http://q:1" }, "http://p:1", "http://q:1"],
  // Blank is unset, as with curl.
  [{ HTTPS_PROXY: "", HTTP_PROXY: " \t" }, undefined, undefined],
  [{ https_proxy: " ", HTTPS_PROXY: "http://p:1" }, undefined, "http://p:1"],
  [{ HTTPS_PROXY: "", HTTP_PROXY: "http://p:1" }, "http://p:1", "http://p:1"],
  [{ HTTPS_PROXY: " http://p:1\n" }, undefined, "http://p:1"],
  // Without a scheme it is http://.
  [{ HTTPS_PROXY: "p:3128" }, undefined, "http://p:3128"],
  [{ HTTPS_PROXY: "p" }, undefined, "http://p"],
  [{ HTTPS_PROXY: "user:word@127.0.0.1:9" }, undefined, "http://127.0.0.1:9"],
  [{ HTTPS_PROXY: "[::1]:3128" }, undefined, "http://[::1]:3128"],
  [{ HTTPS_PROXY: "HTTPS://P.example:8443/" }, undefined, "https://p.example:8443"],
] as const)("with %j http goes through %s, and https through %s", ([values, forHttp, forHttps]) => {
  stubProxies(values);
  expect(proxyFor(http)?.address).toBe(forHttp);
  expect(proxyFor(https)?.address).toBe(forHttps);
});

test("where a proxy is, and what it is told, is taken from the variable", () => {
  stubProxies({ HTTPS_PROXY: "http://us%40er:pass%3Aword@[::1]" });
  expect(proxyFor(https)).toEqual({
    ...{ variable: "HTTPS_PROXY", address: "http://[::1]", protocol: "http:" },
    ...{ hostname: "::1", port: "80" },
    authorization: `Basic ${Buffer.from("us@er:pass:word").toString("base64")}`,
  });
  stubProxies({ https_proxy: "https://user@proxy.example" });
  expect(proxyFor(https)).toMatchObject({
    ...{ variable: "https_proxy", protocol: "https:", port: "443" },
    authorization: `Basic ${Buffer.from("user:").toString("base64")}`,
  });
  // A percent sign that encodes nothing.
  stubProxies({ https_proxy: "http://user:100%@proxy.example" });
  expect(proxyFor(https)?.authorization).toBe(
    `Basic ${Buffer.from("user:100%").toString("base64")}`,
  );
});

test.for([
  ["socks5://user:s3cret@proxy.example:1080", "socks5://proxy.example:1080"],
  ["ftp://proxy.example", "ftp://proxy.example"],
  ["htpp://proxy.example:1", "htpp://proxy.example:1"],
  ['"http://user:s3cret@proxy.example:1"', "http://proxy.example:1"],
  ["'proxy.example:1'", "proxy.example:1"],
  ["http://", "http://"],
  ["http://user:s3cret", "http://user:…"],
  ["user:s3cret", "user:…"],
  ["http://user:s3/cret@proxy.example:1", "http://proxy.example:1"],
  ["http://user:53/s3cret@proxy.example:1", "http://proxy.example:1"],
  ["http://proxy.example:99999", "http://proxy.example:99999"],
  ["http://us er:s3 cret@pro xy", "http://pro xy"],
] as const)("%j is no proxy, and the error names the variable, and %s of it", ([value, shown]) => {
  stubProxies({ HTTPS_PROXY: value });
  const error = outcome();
  expect(error).toBeInstanceOf(ProxyError);
  expect(error).toMatchObject({ transient: false });
  expect(String(error)).toContain("HTTPS_PROXY");
  expect(String(error)).toContain(`(${shown})`);
  expect(String(error)).not.toMatch(/s3|cret|53/);
});

test("a very long value is neither slow nor shown whole", () => {
  for (const value of ["http://", "a:", "@", ".", "socks5://u:p@", '"', "%"]) {
    stubProxies({ HTTPS_PROXY: value.repeat(50_000), NO_PROXY: "*.".repeat(50_000) });
    const begunAt = performance.now();
    const found = outcome();
    expect(performance.now() - begunAt).toBeLessThan(500);
    if (found instanceof Error) expect(found.message.length).toBeLessThan(400);
  }
});

test.for([
  ["provider.example", "https://provider.example/"],
  ["PROVIDER.example.", "https://provider.example./"],
  [".provider.example", "https://api.provider.example/"],
  ["*.provider.example", "https://provider.example/"],
  ["other.example, provider.example", "https://a.b.provider.example/"],
  ["provider.example:443", "https://provider.example/"],
  ["provider.example:8443", "https://provider.example:8443/"],
  ["*", "https://provider.example/"],
  ["other.example,*", "https://provider.example/"],
  ["127.0.0.1", "http://127.0.0.1:3000/"],
  ["127.0.0.1:3000", "http://127.0.0.1:3000/"],
  ["::1", "http://[::1]:3000/"],
  ["0:0:0:0:0:0:0:1", "http://[::1]/"],
  ["2001:DB8::7", "https://[2001:db8::7]/"],
  ["[::1]", "http://[::1]:3000/"],
  ["[::1]:3000", "http://[::1]:3000/"],
] as const)("NO_PROXY=%s goes directly to %s", ([value, url]) => {
  stubProxies({ HTTPS_PROXY: "http://p:1", HTTP_PROXY: "http://p:1", NO_PROXY: value });
  expect(proxyFor(new URL(url))).toBeUndefined();
  // As far as that is told apart.
  expect(proxyFor(new URL("https://elsewhere.test/"))?.address).toBe(
    value.endsWith("*") ? undefined : "http://p:1",
  );
});

test.for([
  ["provider.example", "https://myprovider.example/"],
  ["api.provider.example", "https://provider.example/"],
  ["provider.example:443", "http://provider.example/"],
  ["provider.example:80", "https://provider.example/"],
  ["::1", "http://[::2]/"],
  ["[::1]:3000", "http://[::1]:4000/"],
  ["2001:db8::7", "https://[2001:db8::8]/"],
  ["", "https://provider.example/"],
  [" , ", "https://provider.example/"],
] as const)("NO_PROXY=%j has %s go through the proxy", ([value, url]) => {
  stubProxies({ HTTPS_PROXY: "http://p:1", HTTP_PROXY: "http://p:1", NO_PROXY: value });
  expect(proxyFor(new URL(url))?.address).toBe("http://p:1");
});

test("what the environment says now holds", () => {
  stubProxies();
  expect(proxyFor(https)).toBeUndefined();
  vi.stubEnv("HTTPS_PROXY", "http://p:1");
  expect(proxyFor(https)?.address).toBe("http://p:1");
  vi.stubEnv("HTTPS_PROXY", "http://q:1");
  expect(proxyFor(https)?.address).toBe("http://q:1");
  vi.stubEnv("NO_PROXY", "provider.example");
  expect(proxyFor(https)).toBeUndefined();
  vi.stubEnv("NO_PROXY", "");
  vi.stubEnv("HTTPS_PROXY", "");
  expect(proxyFor(https)).toBeUndefined();
});
