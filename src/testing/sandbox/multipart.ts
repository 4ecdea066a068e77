/** One part of a multipart/form-data body. */
export interface Part {
  readonly name: string;
  readonly filename?: string;
  readonly mediaType?: string;
  readonly bytes: Buffer;
}

const blankLine = Buffer.from("\r\n\r\n");

function boundaryOf(contentType: string): string | undefined {
  const match = /boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType);
  return match?.[1] ?? match?.[2];
}

/** Browsers and Node escape a quote or a line break in a name this way. */
function unescapeName(name: string): string {
  return name.replace(/%22/g, '"').replace(/%0D/gi, "\r").replace(/%0A/gi, "\n");
}

function parsePart(section: Buffer): Part | undefined {
  const headEnd = section.indexOf(blankLine);
  if (headEnd < 0) return undefined;
  const head = section.subarray(0, headEnd).toString("utf8");
  const disposition = /^content-disposition:\s*form-data\s*;(.*)$/im.exec(head)?.[1];
  const name = disposition && /(?:^|[;\s])name="([^"]*)"/i.exec(disposition)?.[1];
  if (disposition === undefined || name === undefined) return undefined;
  const filename = /filename="([^"]*)"/i.exec(disposition)?.[1];
  // Trimmed afterwards: a pattern that does it looks for the end anew from each blank.
  const mediaType = /^content-type:(.*)$/im.exec(head)?.[1]?.trim() || undefined;
  return {
    name: unescapeName(name),
    ...(filename !== undefined && { filename: unescapeName(filename) }),
    ...(mediaType !== undefined && { mediaType }),
    bytes: section.subarray(headEnd + blankLine.byteLength),
  };
}

/** The parts of a body; undefined when it does not keep to the format. */
export function parseMultipart(body: Buffer, contentType: string): readonly Part[] | undefined {
  const boundary = boundaryOf(contentType);
  if (boundary === undefined) return undefined;
  const opening = Buffer.from(`--${boundary}`);
  const delimiter = Buffer.from(`\r\n--${boundary}`);
  if (!body.subarray(0, opening.byteLength).equals(opening)) return undefined;
  const parts: Part[] = [];
  let position = opening.byteLength;
  while (body.subarray(position, position + 2).toString("latin1") === "\r\n") {
    const end = body.indexOf(delimiter, position + 2);
    if (end < 0) return undefined;
    const part = parsePart(body.subarray(position + 2, end));
    if (part === undefined) return undefined;
    parts.push(part);
    position = end + delimiter.byteLength;
  }
  return body.subarray(position, position + 2).toString("latin1") === "--" ? parts : undefined;
}
