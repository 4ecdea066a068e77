/** From the first line of a script to its first small image, in this process of its own: the import included. */
const started = process.cpuUsage();
const startedMs = performance.now();
const { contender, server } = JSON.parse(process.argv[2]);
const { bytes } = await import(`./contenders/${contender}.mjs`);
const image = await bytes({ server, picture: "small" })("A dew-covered web at sunrise");
const startMs = performance.now() - startedMs;
const { user, system } = process.cpuUsage(started);

const { createHash } = await import("node:crypto");
const hash = createHash("sha256").update(image).digest("hex");
const figures = { startMs, startCpuMs: (user + system) / 1_000 };
process.send({ figures, hashes: [hash], results: 1 }, () => process.exit());
