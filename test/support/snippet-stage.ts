import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Sandbox, startSandbox } from "gpt-image-client/testing";
import { root, type Snippet } from "./pages";

/** Where snippets run: a sandbox in place of the providers, and a directory of their own. */
export class SnippetStage implements AsyncDisposable {
  readonly sandbox: Sandbox;
  readonly directory: string;
  readonly #cwd = process.cwd();

  private constructor(sandbox: Sandbox, directory: string) {
    this.sandbox = sandbox;
    this.directory = directory;
    // A snippet writes where its reader would see it: below the working directory.
    process.chdir(directory);
  }

  static async start(jobDurationMs = 300): Promise<SnippetStage> {
    const sandbox = await startSandbox({ jobDurationMs, plainImages: true });
    // Under the repository, so that the imports of a snippet mean this package and its dependencies.
    await mkdir(join(root, "output"), { recursive: true });
    return new SnippetStage(sandbox, await mkdtemp(join(root, "output", "snippets-")));
  }

  /** Writes a file beside the snippets. */
  async write(name: string, content: string | Uint8Array): Promise<string> {
    const file = join(this.directory, name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
    return file;
  }

  /** The snippet with the sandbox for each provider that it makes by its name alone. */
  inSandbox({ text }: Snippet): string {
    const { shortapi, aigptimage, trinetra, openaiCompatible } = this.sandbox;
    const access = { shortapi, aigptimage, trinetra, openai: openaiCompatible };
    return text.replaceAll(/\b(shortapi|aigptimage|trinetra|openai)\(\)/g, (_, name: string) => {
      const settings = Object.entries(access).find(([each]) => each === name)?.[1];
      return `${name}(${JSON.stringify(settings)})`;
    });
  }

  /** Runs a snippet, and gives what it exports. */
  async run(snippet: Snippet, text = this.inSandbox(snippet)): Promise<Record<string, unknown>> {
    const file = await this.write(snippet.file, `${text}\nexport {};\n`);
    return import(pathToFileURL(file).href);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.chdir(this.#cwd);
    await rm(this.directory, { recursive: true, force: true });
    await this.sandbox.close();
  }
}
