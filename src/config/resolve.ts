/** Gives values to interpolations: references between keys, resolver calls, and text around them. */
import { UserError } from "../errors.ts";
import { type Argument, type Interpolation, parseText, type Text } from "./interpolation-grammar.ts";
import { parseKeyPath } from "./key-path.ts";
import {
  type ConfigNode,
  type Container,
  children,
  describeSource,
  isContainer,
  isNode,
  type Key,
  keyText,
  ListNode,
  MappingNode,
  MISSING,
  ValueNode,
} from "./node.ts";
import { callResolver } from "./resolvers.ts";
import { pyRepr, pyStr, type Scalar, setKey } from "./scalar.ts";

/**
 * What an interpolation may yield: a scalar, a node of the tree, or a plain list or mapping made by a resolver (which is
 * data, not part of the tree: no key can be looked up in it).
 */
export type Value = Scalar | ConfigNode | Value[] | Map<Scalar, Value>;

/** A value that must be given (`???`) was read. */
export class MissingValueError extends UserError {}

/** A key was looked up below a scalar. */
export class NotAContainerError extends UserError {}

/** An interpolation names a key that does not exist, refers to itself, or its resolver failed. */
export class InterpolationError extends UserError {}

const resolving = new Set<ValueNode>();
/** Interpolations followed for the value being read: a few lines that double each other could ask for 2^40 of them. */
let followed = 0;
const MAX_FOLLOWED = 200_000;
/** Values in one copy of a config, for the same reason. */
const MAX_COPIED = 500_000;

/** The value of a node: interpolations are followed, containers are returned as they are. */
export function resolveNode(node: ConfigNode): Value {
  if (!(node instanceof ValueNode)) return node;
  if (!node.isInterpolation) return node.value;
  if (resolving.has(node)) throw new InterpolationError(`${place(node)}: '${node.value}' refers to itself`);
  if (resolving.size === 0) followed = 0;
  if (++followed > MAX_FOLLOWED)
    throw new InterpolationError(`${place(node)}: more than ${MAX_FOLLOWED} interpolations for one value`);
  resolving.add(node);
  try {
    return evaluateText(parseText(node.value as string), node);
  } catch (error) {
    if (error instanceof RangeError)
      throw new InterpolationError(`${place(node)}: interpolations nested too deeply`);
    throw error;
  } finally {
    resolving.delete(node);
  }
}

/** {@link resolveNode}, but reading `???` throws MissingValueError. */
export function requireNode(node: ConfigNode): Value {
  if (node instanceof ValueNode && node.isMissing) throw missingValue(node);
  return resolveNode(node);
}

/** Result of walking a key path. `missing`: a `???` stands on the way or at the end. */
export type Lookup =
  | { status: "found"; node: ConfigNode; value: Value }
  | { status: "missing"; node: ValueNode }
  | { status: "absent" };

/**
 * Walks `parts` down from `start`, following interpolations on the way and at the end. Throws UserError when a part
 * asks for a key of something that is not a container, or for a list element by a word.
 */
export function lookup(start: Container, parts: string[]): Lookup {
  let value: Value = start;
  let node: ConfigNode = start;
  for (const part of parts) {
    const child = childOf(value, part, node);
    if (child === undefined) return { status: "absent" };
    node = child;
    if (child instanceof ValueNode && child.isMissing) return { status: "missing", node: child };
    value = resolveNode(child);
    if (value === MISSING && child instanceof ValueNode && child.isInterpolation) {
      return { status: "missing", node: child };
    }
  }
  return { status: "found", node, value };
}

/**
 * OmegaConf.select: the value at `key`, or undefined when it does not exist or is `???` (an error with `throwOnMissing`).
 * Leading dots are relative to `start`; with `absolute` a key without dots starts at the root (as in `oc.select`).
 */
export function select(
  start: Container,
  key: string,
  options: { throwOnMissing?: boolean; absolute?: boolean } = {},
): Value | undefined {
  const path = parseKeyPath(key);
  const found = lookup(startOf(start, path.up, options.absolute ?? false, key), path.parts);
  if (found.status === "missing" && options.throwOnMissing) throw missingValue(found.node);
  return found.status === "found" ? found.value : undefined;
}

export interface CopyOptions {
  /** Throw MissingValueError for a `???`, instead of leaving it. */
  throwOnMissing?: boolean;
  /** Write `???` for an interpolation that leads to a `???`, instead of throwing. */
  keepMissing?: boolean;
}

/** A static copy without interpolations; `???` stays. */
export function resolvedCopy(node: ConfigNode, options: CopyOptions = {}): ConfigNode {
  return new Copier(options).copyNode(node);
}

/** Python's `str` of a value, as text around an interpolation shows it: containers unresolved, by `repr`. */
export function valueText(value: Value): string {
  if (value instanceof ValueNode) return pyStr(value.value);
  if (isNode(value) || Array.isArray(value) || value instanceof Map) return valueRepr(value);
  return pyStr(value);
}

function valueRepr(value: Value): string {
  if (value instanceof ValueNode) return pyRepr(value.value);
  if (value instanceof ListNode) return `[${value.items.map(valueRepr).join(", ")}]`;
  if (Array.isArray(value)) return `[${value.map(valueRepr).join(", ")}]`;
  if (value instanceof MappingNode || value instanceof Map) {
    const entries = [...value.entries()] as [Scalar, Value][];
    return `{${entries.map(([key, child]) => `${pyRepr(key)}: ${valueRepr(child)}`).join(", ")}}`;
  }
  return pyRepr(value);
}

/** Evaluates one parsed resolver argument in the place where `at` stands. */
export function evaluateArgument(argument: Argument, at: ValueNode): Value {
  switch (argument.kind) {
    case "scalar":
      return argument.value;
    case "text": {
      const value = evaluateText(argument.text, at);
      return argument.quoted ? valueText(value) : value;
    }
    case "list":
      return argument.items.map((item) => evaluateArgument(item, at));
    case "mapping": {
      const mapping = new Map<Scalar, Value>();
      for (const [key, item] of argument.entries) setKey(mapping, key, evaluateArgument(item, at));
      return mapping;
    }
  }
}

function evaluateText(text: Text, at: ValueNode): Value {
  const only = text[0];
  if (text.length === 1 && only !== undefined && typeof only !== "string") return evaluate(only, at);
  return text.map((part) => (typeof part === "string" ? part : valueText(evaluate(part, at)))).join("");
}

function evaluate(interpolation: Interpolation, at: ValueNode): Value {
  if (interpolation.kind === "call") {
    const name = interpolation.name.map((part) => keyPart(part, at)).join(".");
    const args = interpolation.args.map((argument) => evaluateArgument(argument, at));
    return callResolver(name, args, at);
  }
  const written = interpolation.path.map(({ key, bracket }, i) => {
    const text = keyPart(key, at);
    if (bracket) return `[${text}]`;
    return i === 0 ? text : `.${text}`;
  });
  const key = ".".repeat(interpolation.up) + written.join("");
  const path = parseKeyPath(key);
  const start = path.up === 0 ? at.root : startOf(at.parent ?? at.root, path.up, false, key);
  const found = lookup(start, path.parts);
  if (found.status === "absent")
    throw new InterpolationError(`${place(at)}: interpolation key '${key}' not found`);
  if (found.status === "missing") {
    throw new MissingValueError(`${place(at)}: '${key}' is needed here but has no value (???)`);
  }
  return found.value;
}

function keyPart(part: string | Interpolation, at: ValueNode): string {
  if (typeof part === "string") return part;
  const value = evaluate(part, at);
  if (typeof value !== "string") {
    throw new InterpolationError(
      `${place(at)}: an interpolation inside a key must give a string, got ${valueText(value)}`,
    );
  }
  return value;
}

function childOf(value: Value, part: string, holder: ConfigNode): ConfigNode | undefined {
  if (value instanceof MappingNode) return value.get(part);
  if (value instanceof ListNode) {
    if (!/^[+-]?\d+$/.test(part))
      throw new UserError(`'${holder.path}' is a list: index '${part}' is not an integer`);
    return value.items[Number(part)];
  }
  if (value === null) return undefined;
  throw new NotAContainerError(`'${holder.path}' is not a mapping or list and so cannot contain '${part}'`);
}

function startOf(container: Container, up: number, absolute: boolean, key: string): Container {
  if (up === 0) return absolute ? container.root : container;
  let start: Container | null = container;
  for (let i = 1; i < up && start; i++) start = start.parent;
  if (!start) throw new InterpolationError(`'${key}' goes above the root of the config`);
  return start;
}

function missingValue(node: ConfigNode): MissingValueError {
  const where = describeSource(node.source);
  return new MissingValueError(
    `'${node.path}' must be given (its value is ???${where ? ` in ${where}` : ""}); set it: ${node.path}=VALUE`,
  );
}

/** How messages name a node: its path and, when known, where it was written. */
function place(node: ConfigNode): string {
  const where = describeSource(node.source);
  return where ? `${node.path} (${where})` : node.path;
}

class Copier {
  readonly options: CopyOptions;
  /** Containers being copied: meeting one again inside itself would never end. */
  readonly open = new Set<Container>();
  copied = 0;

  constructor(options: CopyOptions) {
    this.options = options;
  }

  copyNode(node: ConfigNode): ConfigNode {
    if (++this.copied > MAX_COPIED)
      throw new InterpolationError(`${place(node)}: more than ${MAX_COPIED} values, interpolations followed`);
    if (node instanceof ValueNode && node.isMissing) {
      if (this.options.throwOnMissing) throw missingValue(node);
      return withSource(new ValueNode(MISSING), node);
    }
    if (isContainer(node)) return this.copyContainer(node);
    try {
      return withSource(this.copyValue(resolveNode(node)), node);
    } catch (error) {
      if (!this.options.keepMissing || !(error instanceof MissingValueError)) throw error;
      return withSource(new ValueNode(MISSING), node);
    }
  }

  copyValue(value: Value): ConfigNode {
    if (isNode(value)) return this.copyNode(value);
    if (Array.isArray(value)) {
      const list = new ListNode();
      for (const item of value) list.push(this.copyValue(item));
      return list;
    }
    if (value instanceof Map) {
      const mapping = new MappingNode();
      for (const [key, item] of value) mapping.set(key as Key, this.copyValue(item));
      return mapping;
    }
    return new ValueNode(value);
  }

  copyContainer(node: Container): ConfigNode {
    if (this.open.has(node))
      throw new InterpolationError(`'${keyText(node.path)}' contains itself through interpolation`);
    this.open.add(node);
    const copy = node instanceof MappingNode ? new MappingNode() : new ListNode();
    for (const [key, child] of children(node)) {
      const childCopy = this.copyNode(child);
      if (copy instanceof MappingNode) copy.set(key, childCopy);
      else copy.push(childCopy);
    }
    this.open.delete(node);
    return withSource(copy, node);
  }
}

function withSource<T extends ConfigNode>(copy: T, from: ConfigNode): T {
  copy.source = from.source;
  return copy;
}
