import type { GeneratedImage, ImageError } from "../../index";
import { insistOnSave } from "./insist";
import type { ImageProcessorOptions, SaveContext } from "./types";

/** How some images of a job are saved. */
export interface SaveOptions {
  /** Which image of the job the first of them is. Default 0. */
  readonly firstIndex?: number;
  /** Neither the journal nor the provider has them: a save that throws is made again at once. */
  readonly isInMemoryAlone?: boolean;
}

interface SaveOrder extends Omit<SaveContext, "index">, SaveOptions {
  readonly signal: AbortSignal | undefined;
}

/** Saves images, one after another. */
export async function saveImages(
  images: readonly GeneratedImage[],
  save: ImageProcessorOptions["save"],
  { id, metadata, signal, firstIndex = 0, isInMemoryAlone = false }: SaveOrder,
): Promise<string[]> {
  const files: string[] = [];
  const isStopping = () => signal?.aborted === true;
  for (const [position, image] of images.entries()) {
    const saving = () => save(image, { id, index: firstIndex + position, metadata });
    files.push(await (isInMemoryAlone ? insistOnSave(saving, isStopping) : saving()));
  }
  return files;
}

/** The images that errors carry. */
export function imagesOf(errors: readonly ImageError[]): readonly GeneratedImage[] {
  return errors.flatMap(({ images = [] }) => images);
}
