import {
  type Charged,
  DownloadError,
  type GeneratedImage,
  type ImageInfo,
  isImageError,
} from "../../index";
import { formatOfName, pathFor, type Target, type UserFiles } from "./save";
import type { Shell } from "./shell";
import type { Tally } from "./tally";
import { clean, reasonOf } from "./text";

/** A picture that has been written somewhere. */
export interface DeliveredPicture {
  /** Absent where its bytes went to stdout. */
  readonly path?: string;
  readonly mediaType?: string;
  readonly width?: number | undefined;
  readonly height?: number | undefined;
  readonly byteLength: number;
  readonly revisedPrompt?: string;
}

/** A picture to be written: of a result, or out of the journal. */
export type Picture = Partial<Pick<GeneratedImage, "info" | "revisedPrompt" | "url">> & {
  bytes(): Promise<Uint8Array>;
};

/** Where pictures go, and who hears of it. */
export interface Delivery {
  readonly shell: Shell;
  readonly files: UserFiles;
  readonly target: Target;
  readonly tally: Tally;
  /** Whether each path goes to stdout as soon as the picture is there. */
  readonly printsPaths: boolean;
}

/** Writes the pictures of a job. What cannot be written was paid for: it is said, and the others go on. */
export async function deliver(
  pictures: readonly Picture[],
  job: string,
  delivery: Delivery,
): Promise<readonly DeliveredPicture[]> {
  const delivered: DeliveredPicture[] = [];
  for (const [index, picture] of pictures.entries()) {
    try {
      delivered.push(await deliverOne(picture, { job, index, of: pictures.length }, delivery));
      delivery.tally.deliver();
    } catch (error) {
      const charged: Charged = isImageError(error) ? error.charged : "yes";
      delivery.tally.lose(charged);
      delivery.shell.complain(whyOf(error, picture));
    }
  }
  return delivered;
}

function whyOf(error: unknown, { url }: Picture): string {
  const reason = reasonOf(error);
  if (isImageError(error)) return reason;
  const where = url === undefined || !/^https?:/.test(url) ? "" : ` It is at ${url}.`;
  return `The picture was paid for and could not be delivered: ${reason}.${where}`;
}

async function deliverOne(
  picture: Picture,
  place: { readonly job: string; readonly index: number; readonly of: number },
  { shell, files, target, printsPaths }: Delivery,
): Promise<DeliveredPicture> {
  const bytes = await picture.bytes();
  const info = await infoOf(picture);
  const { revisedPrompt } = picture;
  const facts = {
    byteLength: bytes.byteLength,
    ...(info !== undefined && {
      ...{ mediaType: info.mediaType, width: info.width, height: info.height },
    }),
    ...(revisedPrompt !== undefined && { revisedPrompt: clean(revisedPrompt) }),
  };
  if (target.to === "stdout") {
    await shell.write(bytes);
    return facts;
  }
  const extension = extensionOf(info?.mediaType, bytes);
  const path = await files.save(bytes, pathFor(target, place, extension));
  const named = formatOfName(path);
  if (named !== undefined && named !== (extension === "jpg" ? "jpeg" : extension)) {
    shell.warn(`${path} is called ${named}, and holds ${extension}: the provider gave that`);
  }
  if (printsPaths) {
    await shell.print(path).catch((cause: unknown) => {
      throw new Error(`it is in ${path}, which stdout did not take`, { cause });
    });
  }
  return { path, ...facts };
}

/** What is no image of a known type is delivered all the same. */
async function infoOf(picture: Picture): Promise<ImageInfo | undefined> {
  try {
    return await picture.info?.();
  } catch (error) {
    if (error instanceof DownloadError) return undefined;
    throw error;
  }
}

/** What a file begins with. */
const signatures: readonly (readonly [RegExp, string])[] = [
  [/^\x89PNG/, "png"],
  [/^\xff\xd8\xff/, "jpg"],
  [/^GIF8/, "gif"],
  [/^RIFF.{4}WEBP/s, "webp"],
  [/^.{4}ftypavif/s, "avif"],
  [/^\s*<(\?xml|svg)/, "svg"],
];

/** By the media type that the bytes have, or by the bytes themselves. */
function extensionOf(mediaType: string | undefined, bytes: Uint8Array): string {
  const [, subtype] = /^image\/([a-z]+)/.exec(mediaType ?? "") ?? [];
  if (subtype !== undefined) return subtype === "jpeg" ? "jpg" : subtype;
  const head = Buffer.from(bytes.subarray(0, 64)).toString("latin1");
  return signatures.find(([start]) => start.test(head))?.[1] ?? "bin";
}
