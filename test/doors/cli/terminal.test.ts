import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { startSandbox } from "gpt-image-client/testing";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { program } from "./child";
import { place } from "./here";

const hasTmux = spawnSync("tmux", ["-V"]).status === 0;
if (!hasTmux) console.log("No tmux: the command line is not tried on a terminal.");

/** A terminal with a shell in it. */
function terminal(env: Readonly<Record<string, string>>, cwd: string) {
  const socket = join(place(), "tmux");
  const tmux = (...args: readonly string[]) =>
    execFileSync("tmux", ["-S", socket, "-f", "/dev/null", ...args], { encoding: "utf8" });
  const settings = Object.entries({ ...env, PS1: "$ " }).flatMap(([name, value]) => [
    ...["-e", `${name}=${value}`],
  ]);
  tmux("new-session", "-d", "-x", "100", "-y", "30", "-c", cwd, ...settings, "bash --norc");
  onTestFinished(() => {
    tmux("kill-server");
  });
  return {
    type: (line: string) => tmux("send-keys", line, "Enter"),
    press: (key: string) => tmux("send-keys", key),
    screen: () => tmux("capture-pane", "-p").trimEnd(),
    colours: () => tmux("capture-pane", "-p", "-e").trimEnd(),
  };
}

async function stage(name: "trinetra" | "openai", jobDurationMs: number) {
  const sandbox = await startSandbox({ jobDurationMs, plainImages: true });
  onTestFinished(() => sandbox.close());
  const directory = place();
  const { baseURL, apiKey } = sandbox[name];
  const env = { [`${name.toUpperCase()}_API_KEY`]: apiKey, XDG_STATE_HOME: join(directory, "s") };
  const shell = terminal(env, directory);
  const run = (line: string) =>
    shell.type(`clear; ${process.execPath} ${program} ${line}; echo code $?`);
  const generate = `generate --base-url ${baseURL} -o out/`;
  return { sandbox, directory, shell, run, generate };
}

const patient = { timeout: 20_000, interval: 50 };

describe.skipIf(!hasTmux)("on a terminal", () => {
  test("one line tells how far it is, and nothing is left of it in the end", async () => {
    const { shell, run, generate, directory } = await stage("trinetra", 2_000);
    run(`${generate} -n 2 test`);
    await vi.waitFor(() => expect(shell.screen()).toMatch(/trinetra: running, \d s$/m), patient);
    await vi.waitFor(() => expect(shell.screen()).toContain("code 0"), patient);
    const lines = shell.screen().split("\n");
    const [price, first, second, done, code] = lines;
    expect(price).toBe("trinetra: 2 pictures, 14 credits by its list");
    expect([first, second].map((line) => line?.startsWith(`${directory}/out/`))).toEqual([
      true,
      true,
    ]);
    expect(lines.join("")).not.toContain("running");
    expect(shell.colours()).toMatch(/\p{Cc}\[32mdone:/u);
    expect(done).toMatch(/^done: 2 pictures, 14 credits as the provider reports/);
    expect(lines.at(-2) ?? code).toContain("code 0");
  });

  test("Ctrl-C says what to type, and that has the picture", async () => {
    const { shell, run, generate, sandbox, directory } = await stage("trinetra", 1_500);
    run(`${generate} test`);
    await vi.waitFor(() => expect(shell.screen()).toMatch(/queued|running/), patient);
    shell.press("C-c");
    await vi.waitFor(() => expect(shell.screen()).toContain("code 5"), patient);
    const command = /gpt-image-client (resume [\w-]{36})/.exec(shell.screen())?.[1] ?? "";
    run(`${command} -o out/`);
    await vi.waitFor(() => expect(shell.screen()).toContain("code 0"), patient);
    expect(readdirSync(join(directory, "out"))).toHaveLength(1);
    expect(sandbox.charges).toHaveLength(1);
  });

  test("the first Ctrl-C waits for a picture that is being paid for", async () => {
    const { shell, run, generate } = await stage("openai", 1_500);
    run(`${generate} test`);
    await vi.waitFor(() => expect(shell.screen()).toContain("sending"), patient);
    shell.press("C-c");
    await vi.waitFor(() => expect(shell.screen()).toContain("Ctrl-C again"), patient);
    await vi.waitFor(() => expect(shell.screen()).toContain("code 0"), patient);
    expect(shell.screen()).toContain("done: 1 picture");
  });

  test("bytes are not written to it, nor what a provider would have moved on it", async () => {
    const { shell, run, generate, sandbox } = await stage("trinetra", 50);
    const message = "no \u001b[2J\u001b[31mway\u0007 \u202eback";
    sandbox.inject({
      ...{ provider: "trinetra", phase: "create", fault: "refusal" },
      status: 400,
      message,
    });
    run(`${generate} test`);
    await vi.waitFor(() => expect(shell.screen()).toContain("code 1"), patient);
    expect(shell.screen()).toContain("no way back");
    run(`generate -p sandbox -o - test`);
    await vi.waitFor(() => expect(shell.screen()).toContain("code 2"), patient);
  });
});
