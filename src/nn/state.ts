/** Loading weights by name into a module, and reading them out. */
import { UserError } from "../errors.ts";
import type { Module, Parameter } from "./module.ts";

/** What loading needs of a source of tensors; `WeightsReader` of src/checkpoint is one. */
export interface TensorSource {
  /** Where the tensors are, for messages. */
  readonly path: string;
  readonly names: readonly string[];
  shape(name: string): readonly number[];
  readFloat32(name: string): Float32Array;
}

export interface LoadOptions {
  /** Name of our parameter -> name in the source; the same by default. */
  rename?: (name: string) => string;
  /** Names in the source that may be left over. */
  ignore?: (name: string) => boolean;
}

/**
 * Copies every parameter and buffer of `module` out of `source`, one tensor at a time. Throws a UserError that lists the
 * missing, the unexpected and the wrongly shaped tensors by name, before anything is changed.
 */
export function loadState(module: Module, source: TensorSource, options: LoadOptions = {}): void {
  const rename = options.rename ?? ((name) => name);
  const wanted = new Map<string, Parameter>(
    module.namedParameters().map(([name, parameter]) => [rename(name), parameter]),
  );
  const available = new Set(source.names);
  const missing = [...wanted.keys()].filter((name) => !available.has(name));
  const unexpected = [...available].filter((name) => !wanted.has(name) && !options.ignore?.(name));
  const misshapen = [...wanted].filter(
    ([name, parameter]) => available.has(name) && source.shape(name).join() !== parameter.shape.join(),
  );
  const problems = [
    list("missing", missing),
    list("unexpected", unexpected),
    list(
      "wrong shape",
      misshapen.map(([name, p]) => `${name} [${source.shape(name)}] instead of [${p.shape}]`),
    ),
  ].filter((text) => text !== "");
  if (problems.length > 0)
    throw new UserError(`${source.path} does not fit the model: ${problems.join("; ")}`);
  for (const [name, parameter] of wanted) parameter.load(source.readFloat32(name));
}

function list(what: string, names: string[]): string {
  if (names.length === 0) return "";
  const shown = names.slice(0, 8).join(", ");
  return `${what}: ${shown}${names.length > 8 ? ` and ${names.length - 8} more` : ""}`;
}
