/** Starts a data worker: registers the TypeScript loader in this thread, then runs the worker proper. */
import { register } from "tsx/esm/api";

register();
await import("./worker.ts");
