/** Resolvers: the functions behind `${name:args}`. OmegaConf's `oc.*` are built in; others are registered. */
import { UserError } from "../errors.ts";
import { parseArgument } from "./interpolation-grammar.ts";
import {
  type ConfigNode,
  type Container,
  cloneNode,
  isContainer,
  isNode,
  type Key,
  ListNode,
  MappingNode,
  ValueNode,
} from "./node.ts";
import {
  evaluateArgument,
  InterpolationError,
  MissingValueError,
  select,
  type Value,
  valueText,
} from "./resolve.ts";
import type { Scalar } from "./scalar.ts";
import { loadYaml } from "./yaml.ts";

/** Where a call stands: the value that holds it, the container around that value, and the root. */
export interface ResolverContext {
  node: ValueNode;
  parent: Container;
  root: Container;
}

export type Resolver = (args: Value[], context: ResolverContext) => Value;

interface Registration {
  resolve: Resolver;
  useCache: boolean;
}

/**
 * Registers `${name:...}`. With `useCache` a call with the same arguments is made once per config.
 * Throws UserError when the name is taken.
 */
export function registerResolver(
  name: string,
  resolve: Resolver,
  options: { useCache?: boolean } = {},
): void {
  if (registry.has(name)) throw new UserError(`resolver '${name}' is already registered`);
  registry.set(name, { resolve, useCache: options.useCache ?? false });
}

/** Removes a resolver registered earlier. */
export function unregisterResolver(name: string): void {
  registry.delete(name);
}

/** Calls resolver `name`; its failures become InterpolationErrors that say where the call stands. */
export function callResolver(name: string, args: Value[], node: ValueNode): Value {
  const registration = registry.get(name);
  if (!registration)
    throw new InterpolationError(`${node.path}: there is no resolver '${name}' (in '${node.value}')`);
  const root = node.root;
  const context = { node, parent: node.parent ?? root, root };
  const call = () => {
    try {
      return registration.resolve(args, context);
    } catch (error) {
      if (error instanceof InterpolationError || error instanceof MissingValueError) throw error;
      throw new InterpolationError(`${node.path}: resolver '${name}' failed: ${(error as Error).message}`);
    }
  };
  if (!registration.useCache) return call();
  const cache = caches.get(root) ?? new Map<string, Value>();
  caches.set(root, cache);
  const id = `${name}:${args.map(valueText).join(",")}`;
  if (!cache.has(id)) cache.set(id, call());
  return cache.get(id) as Value;
}

const warned = new Set<string>();
const caches = new WeakMap<Container, Map<string, Value>>();
const registry = new Map<string, Registration>();

function builtIn(name: string, minimum: number, maximum: number, resolve: Resolver): void {
  registerResolver(name, (args, context) => {
    if (args.length < minimum || args.length > maximum) {
      const expected = minimum === maximum ? `${minimum}` : `${minimum} to ${maximum}`;
      throw new UserError(`takes ${expected} argument(s), got ${args.length}`);
    }
    return resolve(args, context);
  });
}

/** `${oc.env:NAME,default}`: an environment variable as a string; the default too becomes a string, except null. */
builtIn("oc.env", 1, 2, ([name, ...fallback]) => {
  if (typeof name !== "string")
    throw new UserError(`the variable's name must be a string, got ${valueText(name ?? null)}`);
  const value = process.env[name];
  if (value !== undefined) return value;
  if (fallback.length === 0) throw new UserError(`environment variable '${name}' is not set`);
  const given = fallback[0] as Value;
  return given === null ? null : valueText(given);
});

/** `${oc.decode:text}`: reads a text as a typed value, list or mapping. */
builtIn("oc.decode", 1, 1, ([text], { node }) => {
  if (text === null) return null;
  if (typeof text !== "string") throw new UserError(`needs a string, got ${valueText(text ?? null)}`);
  return evaluateArgument(parseArgument(text), node);
});

/** `${oc.create:{a:1}}`: makes a part of the config out of a list or mapping. */
builtIn("oc.create", 1, 1, ([value], { parent, node }) => {
  if (value === null) return null;
  // A text is read as YAML, like a file.
  const created = typeof value === "string" ? loadYaml(value, node.path) : toNode(value ?? null);
  if (!isContainer(created))
    throw new UserError(`needs a list or a mapping, got ${valueText(value ?? null)}`);
  created.parent = parent;
  created.key = node.key;
  return created;
});

/** `${oc.select:key,default}`: the value at a key, or the default when it does not exist or is `???`. */
builtIn("oc.select", 1, 2, ([key, fallback], { parent }) => {
  const value = select(parent, requireKey(key), { absolute: true });
  return value === undefined ? (fallback ?? null) : value;
});

/** `${oc.deprecated:key,message}`: the value at a key that has been renamed. */
builtIn("oc.deprecated", 1, 2, ([key, message], { node, parent }) => {
  const name = requireKey(key);
  if (message !== undefined && typeof message !== "string")
    throw new UserError("the message must be a string");
  const value = select(parent, name, { absolute: true });
  if (value === undefined) throw new UserError(`key '${name}' does not exist`);
  const text = (message ??
    "'$OLD_KEY' is deprecated. Change your code and config to use '$NEW_KEY'") as string;
  const shown = text.replaceAll("$OLD_KEY", node.path).replaceAll("$NEW_KEY", name);
  if (!warned.has(shown)) process.emitWarning(shown, "DeprecationWarning");
  warned.add(shown);
  return value;
});

/** `${oc.dict.keys:key}`: the keys of a mapping as a list. */
builtIn("oc.dict.keys", 1, 1, ([key], { node, parent }) => {
  const list = new ListNode();
  for (const name of mappingAt(key, parent).keys()) list.push(new ValueNode(name));
  return attach(list, parent, node);
});

/** `${oc.dict.values:key}`: the values of a mapping as a list of references to them. */
builtIn("oc.dict.values", 1, 1, ([key], { node, parent }) => {
  const mapping = mappingAt(key, parent);
  const list = new ListNode();
  for (const name of mapping.keys()) list.push(new ValueNode(`\${${mapping.path}.${name}}`));
  return attach(list, parent, node);
});

function requireKey(key: Value | undefined): string {
  if (typeof key !== "string") throw new UserError(`the key must be a string, got ${valueText(key ?? null)}`);
  return key;
}

function mappingAt(key: Value | undefined, parent: Container): MappingNode {
  const name = requireKey(key);
  const value = select(parent, name, { absolute: true, throwOnMissing: true });
  if (value === undefined) throw new UserError(`key '${name}' does not exist`);
  if (!(value instanceof MappingNode)) throw new UserError(`'${name}' is not a mapping`);
  return value;
}

function attach(list: ListNode, parent: Container, node: ValueNode): ListNode {
  list.parent = parent;
  list.key = node.key;
  return list;
}

function toNode(value: Value): ConfigNode {
  if (isNode(value)) return cloneNode(value);
  if (Array.isArray(value)) {
    const list = new ListNode();
    for (const item of value) list.push(toNode(item));
    return list;
  }
  if (value instanceof Map) {
    const mapping = new MappingNode();
    for (const [key, item] of value) mapping.set(key as Key, toNode(item));
    return mapping;
  }
  return new ValueNode(value as Scalar);
}
