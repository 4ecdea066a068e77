export { aigptimage } from "./aigptimage";
export {
  type OpenAICompatibleSettings,
  type OpenAISettings,
  openai,
  openaiCompatible,
} from "./openai-compatible";
export { shortapi } from "./shortapi";
export { trinetra } from "./trinetra";
