/**
 * OpenAI's images API over any client, for whatever has a base URL to change.
 *
 * @module gpt-image-client/gateway
 */

export type { GatewayCaller, GatewayRefusal, GatewayRequest } from "./authorize";
export { directoryStore } from "./directory-store";
export type { Failure, SuccessFacts } from "./ends";
export { createImageGateway } from "./gateway";
export type { GatewayStore, OrderRecord, StoredEnd, StoredPicture, StoreLease } from "./store";
export type { Authorized, ImageGateway, ImageGatewayOptions } from "./types";
