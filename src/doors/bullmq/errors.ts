// BullMQ's own classes, for those who ask by `instanceof`. BullMQ itself (6.7) goes by their names, so that
// a second copy of it, such as its CommonJS beside an app's ES modules, does no harm.
export { DelayedError, UnrecoverableError } from "bullmq";
