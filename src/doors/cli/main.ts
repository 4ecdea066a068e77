#!/usr/bin/env node
import { run } from "./run";

const { env, stdin, stdout, stderr, argv } = process;

const exitCode = await run(argv.slice(2), {
  ...{ env, stdin, stdout, stderr, signals: process },
  // Beside `dist`, where this file is once it was built.
  manifest: new URL("../package.json", import.meta.url),
  exit: (code) => process.exit(code),
});
// Connections that idle would keep the process for another second, in which a signal could still kill it.
// Results were waited for as they were written; talk may be on its way, as to a pipe on Windows.
stderr.write("", () => process.exit(exitCode));
