import { nearestTo } from "./nearest";

/** Names that other clients use for what is called quite differently here. */
const otherNames: Readonly<Record<string, string>> = {
  ratio: "aspectRatio",
  width: "size",
  height: "size",
  format: "outputFormat",
  text: "prompt",
  image: "images",
  image_url: "images",
  input_urls: "images",
  callback_url: "webhookUrl",
  count: "n",
  num_images: "n",
  numImages: "n",
  abortSignal: "signal",
};

/** The second argument of `generate`. A test holds both lists against the types. */
export const callNames =
  "signal,timeoutMs,saveTo,idempotencyKey,onSubmitted,onEvent,metadata,tags,retryRefused,detached";
/** What a provider function takes. */
export const providerNames = "apiKey,baseURL,headers,prices";

/**
 * What may have been meant by a name that is none of `names`, to follow "There is no `key`; ".
 *
 * @param requestNames what a request may have.
 */
export function hintFor(
  key: string,
  names: readonly string[],
  requestNames: readonly string[],
): string | undefined {
  const isRequest = names.includes("prompt");
  const other = Object.hasOwn(otherNames, key) ? otherNames[key] : undefined;
  if (other !== undefined && names.includes(other)) return `here it is \`${other}\``;
  if (isRequest && /^(images|mask)$/.test(other ?? key)) {
    return "`client.edit` takes images and a mask";
  }
  if (isRequest && key === "model") {
    return "it goes into `openai({ model })` or `providerOptions.<provider>.model`";
  }
  if (callNames.split(",").includes(key)) {
    return `it goes into the second argument: \`generate(request, { ${key} })\``;
  }
  if (providerNames.split(",").includes(key)) {
    return `it goes into the provider: \`trinetra({ ${key} })\``;
  }
  if (requestNames.includes(key)) return `it goes into the request: \`generate({ ${key} })\``;
  const nearest = nearestTo(key, names);
  if (nearest !== undefined) return `did you mean \`${nearest}\`?`;
  return names.length === 0 ? undefined : `there are ${names.join(", ")}`;
}
