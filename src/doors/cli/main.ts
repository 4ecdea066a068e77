#!/usr/bin/env node
import { run } from "./run";

const { env, stdin, stdout, stderr, argv } = process;

process.exitCode = await run(argv.slice(2), {
  ...{ env, stdin, stdout, stderr, signals: process },
  // Beside `dist`, where this file is once it was built.
  manifest: new URL("../package.json", import.meta.url),
  exit: (code) => process.exit(code),
});
