import { version } from "../../package.json";

/** Goes with every call and every download: many hosts refuse what says nothing of itself. */
export const userAgent = `gpt-image-client/${version}`;
