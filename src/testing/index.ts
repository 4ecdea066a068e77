/**
 * A fake client without sockets, and a sandbox that plays the providers on a real local server.
 *
 * @module gpt-image-client/testing
 */
export {
  type FakeCall,
  type FakeImageClient,
  type FakeImageClientOptions,
  fakeImageClient,
} from "./fake-client";
export {
  type Sandbox,
  type SandboxAccess,
  type SandboxCharge,
  type SandboxFault,
  type SandboxFaultKind,
  type SandboxFaultPhase,
  type SandboxFaultTarget,
  type SandboxForgery,
  type SandboxJob,
  type SandboxJobState,
  type SandboxOpenAIAnswers,
  type SandboxOptions,
  type SandboxPart,
  type SandboxPhase,
  type SandboxProvider,
  type SandboxRequest,
  type SandboxWebhook,
  type SandboxWebhookProvider,
  startSandbox,
} from "./sandbox";
