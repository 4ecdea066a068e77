import type { Adapter } from "../adapter/contract";
import { DecodedImage } from "../media/decoded-image";
import { sniff } from "../media/format";
import { ownBytes } from "../media/own-bytes";
import type { PartialImage } from "../types/image";

/** Shows what the events of one stream hold of a picture that is not done, or an image of one that broke off. */
export function partialReader(
  adapter: Adapter,
  show: (image: PartialImage) => void,
): (event: unknown) => Promise<void> {
  let count = 0;
  return async (event) => {
    const place = count;
    count += 1;
    const image = await imageIn(adapter, event, place).catch(() => {
      // An adapter that threw, or a disk that failed: the picture itself may come all the same.
    });
    if (image !== undefined) show(image);
  };
}

async function imageIn(
  adapter: Adapter,
  event: unknown,
  place: number,
): Promise<PartialImage | undefined> {
  const { index = place, base64 } =
    event instanceof DecodedImage ? { base64: event } : (adapter.readPartial?.(event) ?? {});
  if (base64 === undefined) return undefined;
  const bytes =
    typeof base64 === "string" ? ownBytes(Buffer.from(base64, "base64")) : await base64.sink.read();
  return { index, bytes, mediaType: sniff(bytes)?.mediaType ?? "application/octet-stream" };
}
