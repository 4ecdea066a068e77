/** What one import takes in this process of its own, which has imported nothing else. */
const specifiers = {
  ours: ["../../dist/index.js"],
  undici: ["undici"],
  openai: ["openai"],
  ai: ["ai", "@ai-sdk/openai"],
  fal: ["@fal-ai/client"],
  replicate: ["replicate"],
};
const { contender } = JSON.parse(process.argv[2]);

const cpuMs = ({ user, system }) => (user + system) / 1_000;
const started = process.cpuUsage();
const nodeStartMs = performance.now();
for (const specifier of specifiers[contender]) await import(specifier);
const importMs = performance.now() - nodeStartMs;
const importCpuMs = cpuMs(process.cpuUsage(started));
const figures = { importMs, importCpuMs, nodeStartMs, nodeStartCpuMs: cpuMs(started) };
process.send({ figures }, () => process.exit());
