import { sniff } from "../media/format";

// The bytes of an image in the forms that the platform has for them.

/** Nothing but the styles in it: no script, no request, no form. */
const svgPolicy = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

export function streamOf(load: () => Promise<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      controller.enqueue(await load());
      controller.close();
    },
  });
}

export function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

export function blobOf(bytes: Uint8Array): Blob {
  return new Blob([bytes], { type: mediaTypeOf(bytes) });
}

export function responseOf(bytes: Uint8Array): Response {
  const mediaType = mediaTypeOf(bytes);
  return new Response(bytes, {
    headers: {
      "content-type": mediaType,
      "content-length": String(bytes.byteLength),
      // The type is what the bytes say: no browser shall guess another.
      "x-content-type-options": "nosniff",
      // Opened by itself an SVG is a document, and its scripts would run as the site's own.
      ...(mediaType === "image/svg+xml" && { "content-security-policy": svgPolicy }),
    },
  });
}

function mediaTypeOf(bytes: Uint8Array): string {
  return sniff(bytes)?.mediaType ?? "application/octet-stream";
}
