import type { Capabilities, InputRule, OperationCapabilities } from "../../index";
import type { Member } from "./members";

/** What some of the clients can do. */
export function capabilitiesOf(members: readonly Member[], honoursKeys: boolean): Capabilities {
  const all = members.map(({ client }) => client.capabilities);
  const edits = all.flatMap(({ edit }) => edit ?? []);
  return {
    // Whoever relies on it gets jobs of any of them.
    resumable: all.every(({ resumable }) => resumable),
    idempotent: honoursKeys,
    providerOptions: [
      ...new Set(
        members.flatMap(({ client }) => client.capabilities.providerOptions ?? [client.name]),
      ),
    ],
    generate: unionOf(all.map(({ generate }) => generate)),
    ...(edits.length > 0 && { edit: unionOf(edits) }),
  };
}

function unionOf(all: readonly OperationCapabilities[]): OperationCapabilities {
  const inputs = all.flatMap((each) => each.inputs ?? []);
  return {
    fields: [...new Set(all.flatMap(({ fields }) => fields))],
    maxImagesPerTask: Math.max(...all.map(({ maxImagesPerTask }) => maxImagesPerTask)),
    ...(inputs.length > 0 && { inputs: inputsOf(inputs) }),
  };
}

function inputsOf(all: readonly InputRule[]): InputRule {
  return {
    maxCount: Math.max(...all.map(({ maxCount }) => maxCount)),
    as: all.some((each) => each.as === "bytes") ? "bytes" : "url",
    mask: all.some(({ mask }) => mask),
  };
}
