import type { Outcome, Output } from "../adapter/contract";
import type { Secrets } from "./secrets";

const longestMessage = 500;

/** As much of a text as is shown. */
export function shortened(text: string): string {
  return text.length > longestMessage ? `${text.slice(0, longestMessage)}…` : text;
}

/** Keeps the key out of what an adapter has read: nothing of it can carry one into errors, references or a download. */
export class OutcomeRedaction {
  readonly #secrets: Secrets;
  readonly #baseURL: string;

  /** @param baseURL the provider's own, which a relative URL belongs to. */
  constructor(secrets: Secrets, baseURL: string) {
    this.#secrets = secrets;
    this.#baseURL = baseURL;
  }

  outcome(outcome: Outcome): Outcome {
    switch (outcome.state) {
      case "queued":
      case "running": {
        const { state, known, progress, cost } = outcome;
        const word = this.#words(outcome.word);
        return {
          state,
          known,
          progress,
          cost,
          word,
          id: this.#struckAddress(outcome.id),
        };
      }
      case "succeeded": {
        const outputs = outcome.outputs.map((each) => this.output(each));
        const { state, cost, usage } = outcome;
        const warnings = outcome.warnings?.map((each) => this.#words(each));
        return { state, cost, usage, outputs, model: this.text(outcome.model), warnings };
      }
      case "absent":
        return { ...outcome, message: this.#words(outcome.message) };
      case "refused":
      case "failed":
        return {
          ...outcome,
          message: this.#words(outcome.message),
          code: this.text(outcome.code),
          stage: this.text(outcome.stage),
          categories: outcome.categories?.map((each) => this.#words(each)),
        };
    }
  }

  output({ url, base64, revisedPrompt }: Output): Output {
    return {
      url: this.#absolute(this.#struckAddress(url)),
      base64,
      revisedPrompt: this.text(revisedPrompt),
    };
  }

  /** A URL as it can be asked for: a relative one belongs to the provider's own. */
  #absolute(url: string | undefined): string | undefined {
    if (url === undefined || URL.canParse(url)) return url;
    const base = new URL(this.#baseURL);
    // So that what is below it stays below it.
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    return URL.canParse(url, base.href) ? new URL(url, base).href : url;
  }

  text(text: string | undefined): string | undefined {
    return text === undefined ? undefined : this.#secrets.strike(text);
  }

  #struckAddress(text: string | undefined): string | undefined {
    return text === undefined ? undefined : this.#secrets.strikeAddress(text);
  }

  /** What a response says, without a key. */
  #words(text: string): string {
    return shortened(this.#secrets.strike(text));
  }
}
