export { aigptimage } from "./aigptimage";
export {
  type OpenAICompatibleSettings,
  type OpenAISettings,
  openai,
  openaiCompatible,
  type TokenPrices,
} from "./openai-compatible";
export { shortapi } from "./shortapi";
export { trinetra } from "./trinetra";
