/** What the machine's own environment says of proxies is no part of a test. */
for (const name of Object.keys(process.env)) {
  if (/^(https?|no|all)_proxy$/i.test(name)) delete process.env[name];
}
