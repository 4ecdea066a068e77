import type { Incoming } from "./exchange";
import { GatewayFault } from "./faults";
import { type Form, formOf } from "./fields";
import { type BodyLimits, readMultipart, tooLarge } from "./multipart";

/**
 * Reads a body, whatever it is written in.
 *
 * @throws {@link GatewayFault} where it is too large, or cannot be read.
 */
export async function readForm(incoming: Incoming, limits: BodyLimits): Promise<Form> {
  const type = incoming.header("content-type") ?? "";
  const announced = Number(incoming.header("content-length") ?? 0);
  if (announced > limits.maxBodyBytes) throw tooLarge(limits.maxBodyBytes);
  if (/^multipart\/form-data\b/i.test(type)) return readMultipart(incoming, type, limits);
  if (!/^application\/(\S+\+)?json\b/i.test(type)) {
    const message = "content-type must be application/json or multipart/form-data.";
    throw new GatewayFault(415, "unsupported_media_type", message);
  }
  const text = await incoming.text(limits.maxBodyBytes);
  if (text === undefined) throw tooLarge(limits.maxBodyBytes);
  return formOf(parsed(text));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Its words would show a part of the body.
    throw new GatewayFault(400, "invalid_json", "The body is no JSON.");
  }
}
