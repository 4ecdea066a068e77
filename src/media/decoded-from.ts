import { DecodedImage, type ImageSink } from "./decoded-image";
import { ImageInspection } from "./image-inspection";

/** An image whose bytes are all there. */
export function decodedFrom(bytes: Buffer, sink: ImageSink): DecodedImage {
  sink.reserve(bytes.length).set(bytes);
  sink.commit(bytes.length);
  sink.end?.();
  return new DecodedImage(
    sink,
    bytes.length,
    bytes.subarray(0, 64),
    ImageInspection.isTruncated(bytes),
  );
}
