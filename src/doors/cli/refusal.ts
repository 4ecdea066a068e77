import type { ImageError, ImageInput, ImageRequest } from "../../index";
import { clean, reasonOf } from "./text";

/** How the fields of a request are given on the command line. */
const optionNames: Readonly<Record<string, string>> = {
  prompt: "the prompt",
  n: "-n",
  size: "--size",
  aspectRatio: "--aspect-ratio",
  resolution: "--resolution",
  quality: "--quality",
  background: "--background",
  outputFormat: "--format",
  outputCompression: "--compression",
  moderation: "--moderation",
  user: "--user",
  stream: "--stream",
  mask: "--mask",
};

/** What is wrong with a request, by the options that it was made of. */
export function refusalText(problem: ImageError, { images = [], mask }: ImageRequest): string {
  const field = "field" in problem ? String(problem.field) : "";
  const [, index] = /^images\[(\d+)\]/.exec(field) ?? [];
  const input = index === undefined ? mask : images[Number(index)];
  const option = index === undefined ? optionNames[field] : "-i";
  if (option === undefined) return reasonOf(problem);
  const isInput = index !== undefined || field === "mask";
  const path = isInput ? pathOf(input) : undefined;
  if (problem.code === "unsupported" && path !== undefined) {
    const who = "openai and openai-compatible take files";
    return `${option} ${clean(path)}: ${problem.provider} takes pictures by their URLs alone; ${who}`;
  }
  // What was given may be anything: what is ours comes before it.
  const [ours = "", ...given] = reasonOf(problem).replace(`\`${field}\``, option).split(", got ");
  const told = ours.replace(/\b(aspectRatio|outputFormat|outputCompression)\b/g, optionOf);
  return [told, ...given].join(", got ");
}

/** A field as the option that sets it; those that have none are for programs, and for the lines of a batch. */
export function optionOf(field: string): string {
  return optionNames[field] ?? field;
}

/** The path of an input that is a file. */
export function pathOf(input: ImageInput | undefined): string | undefined {
  return typeof input === "object" && "path" in input ? String(input.path) : undefined;
}
