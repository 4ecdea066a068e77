import { pictureIn } from "../http/image-text";
import type { HttpRequest } from "../http/messages";

/** Where in a response a value stands, as far as it tells what a URL there is. */
export interface Place {
  /** The nearest name of a field. */
  readonly name: string;
  /** Below a name that results have; or below one of what was asked, or of what went wrong. */
  readonly below: "result" | "other" | undefined;
}

const resultNames = /^(data|images?|outputs?|results?|pictures?|artifacts?|generations?|choices)$/i;
/** The caller's own images, and links to pages of help. */
const otherNames =
  /^(errors?|params?|parameters|request|payload|arguments|config|options|links)$|^(inputs?|source|reference|init|mask|logo|icon)(_|$|[A-Z])/i;
/** Not `status_url` and its like: these lead to a job. */
const urlNames =
  /^(data|url|uri|src|href|image|picture|output|result)s?$|^(image|picture|output|result|download|file|signed|public|cdn|media)_?(url|uri)s?$/i;
const imageFile = /\.(png|jpe?g|webp|gif|avif)$/i;
const markdownImage = /!\[[^\]]{0,200}\]\((https?:\/\/[^\s()<>]{1,4000})\)/g;

/**
 * The URLs in a response of unknown shape that lead to images which were made for it, as far as
 * names tell: a link to a page of help, beside a refusal, must not make that one of a paid picture.
 */
export class PictureURLs {
  readonly root: Place = { name: "", below: undefined };
  readonly #found = new Set<string>();
  readonly #isRefusal: boolean;
  readonly #request: HttpRequest;
  /** What was sent, made for the first URL. */
  #sent: Buffer | undefined;

  constructor(status: number, request: HttpRequest) {
    this.#isRefusal = status >= 400 && status < 500;
    this.#request = request;
  }

  get found(): readonly string[] {
    return [...this.#found];
  }

  /** The place of a field of what stands at `place`. */
  inside({ below }: Place, name: string): Place {
    if (below === "other" || otherNames.test(name)) return { name, below: "other" };
    return { name, below: resultNames.test(name) ? "result" : below };
  }

  /** Takes the URLs of a string that stands there. */
  look(text: string, { name, below }: Place): void {
    if (below === "other") return;
    for (const [, url = ""] of text.matchAll(markdownImage)) this.#add(url);
    if (!urlNames.test(name)) return;
    const picture = pictureIn(text);
    if (picture === undefined || !("url" in picture)) return;
    const { url } = picture;
    const at = URL.canParse(url, this.#request.url) ? new URL(url, this.#request.url) : undefined;
    if (at === undefined || !/^https?:$/.test(at.protocol)) return;
    // Some servers say what was asked.
    if (at.pathname === new URL(this.#request.url).pathname) return;
    const isFile = imageFile.test(at.pathname);
    if (isFile || below === "result" || (!this.#isRefusal && URL.canParse(url))) this.#add(url);
  }

  #add(url: string): void {
    if (!this.#wasSent(url)) this.#found.add(url);
  }

  /** An image of the caller's was not paid for. */
  #wasSent(url: string): boolean {
    this.#sent ??= Buffer.from(this.#request.body ?? "");
    return this.#sent.includes(url) || this.#sent.includes(JSON.stringify(url).slice(1, -1));
  }
}
