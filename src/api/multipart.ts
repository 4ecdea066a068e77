import type { Part } from "../adapter/contract";

/** A multipart body as bytes, encoded by the platform: both transports then send the same. */
export async function encodeMultipart(
  parts: readonly Part[],
): Promise<{ contentType: string; bytes: Uint8Array }> {
  const form = new FormData();
  for (const { name, value } of parts) {
    if (typeof value === "string") form.append(name, value);
    else {
      form.append(name, new Blob([value.bytes], { type: value.mediaType }), value.fileName);
    }
  }
  const encoded = new Response(form);
  return {
    contentType: encoded.headers.get("content-type") ?? "multipart/form-data",
    bytes: new Uint8Array(await encoded.arrayBuffer()),
  };
}
