/** Loading weights by name into a module, and reading them out. */
import { UserError } from "../errors.ts";
import { withoutFragmentation } from "../runtime/index.ts";
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
  /**
   * Name of our parameter -> name in the source; the same by default. Several names are parts of the parameter, one below
   * the other along the first axis.
   */
  rename?: (name: string) => string | readonly string[];
  /** Names in the source that may be left over. */
  ignore?: (name: string) => boolean;
}

/**
 * Copies every parameter and buffer of `module` out of `source`, one tensor at a time. Throws a UserError that lists the
 * missing, the unexpected and the wrongly shaped tensors by name, before anything is changed.
 */
export function loadState(module: Module, source: TensorSource, options: LoadOptions = {}): void {
  const rename = options.rename ?? ((name) => name);
  const wanted = module
    .namedParameters()
    .map(([name, parameter]): [readonly string[], Parameter] => [[rename(name)].flat(), parameter]);
  const known = new Set(wanted.flatMap(([names]) => names));
  const available = new Set(source.names);
  const missing = [...known].filter((name) => !available.has(name));
  const unexpected = [...available].filter((name) => !known.has(name) && !options.ignore?.(name));
  const misshapen = wanted.flatMap(([names, { shape }]) => {
    const part = [shape[0] / names.length, ...shape.slice(1)];
    const expected = shape.length === 0 ? "" : part.join();
    return names
      .filter((name) => available.has(name) && source.shape(name).join() !== expected)
      .map((name) => `${name} [${source.shape(name)}] instead of [${expected}]`);
  });
  const problems = [
    list("missing", missing),
    list("unexpected", unexpected),
    list("wrong shape", misshapen),
  ].filter((text) => text !== "");
  if (problems.length > 0)
    throw new UserError(`${source.path} does not fit the model: ${problems.join("; ")}`);
  withoutFragmentation(() => {
    for (const [names, parameter] of wanted) parameter.load(readParts(source, names, parameter.size));
  });
}

/** The parameters and buffers of a module as a source of tensors. `path`: where they are from, for messages. */
export function stateOf(module: Module, path: string): TensorSource {
  const parameters = new Map(module.namedParameters());
  return {
    path,
    names: [...parameters.keys()],
    shape: (name) => parameters.get(name)!.shape,
    readFloat32: (name) => parameters.get(name)!.read() as Float32Array,
  };
}

/** The values of a parameter of `size` values, out of one tensor or of several. */
function readParts(source: TensorSource, names: readonly string[], size: number): Float32Array {
  if (names.length === 1) return source.readFloat32(names[0]);
  const whole = new Float32Array(size);
  for (const [i, name] of names.entries()) whole.set(source.readFloat32(name), (i * size) / names.length);
  return whole;
}

function list(what: string, names: string[]): string {
  if (names.length === 0) return "";
  const shown = names.slice(0, 8).join(", ");
  return `${what}: ${shown}${names.length > 8 ? ` and ${names.length - 8} more` : ""}`;
}
