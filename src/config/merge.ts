/** OmegaConf's merge and update rules, with struct mode: in it keys may be changed but not invented. */
import { UserError } from "../errors.ts";
import { assertInterpolationSyntax } from "./interpolation-grammar.ts";
import { parseKeyPath } from "./key-path.ts";
import {
  type ConfigNode,
  type Container,
  cloneNode,
  describeSource,
  isContainer,
  type Key,
  keyText,
  ListNode,
  MappingNode,
  type Source,
  ValueNode,
} from "./node.ts";
import { resolveNode } from "./resolve.ts";
import { suggestKey } from "./suggest.ts";

/** A key that the config does not have was set in struct mode. */
export class UnknownKeyError extends UserError {}

/**
 * Merges `src` into `dest` in place: mappings key by key, lists and scalars replaced, `???` leaves the old value.
 * A mapping over a reference to a mapping merges into a copy of what it refers to.
 * Throws UnknownKeyError for a new key under `struct`, UserError for a mapping over a list or a list over a mapping.
 */
export function mergeInto(dest: Container, src: Container, struct = false): void {
  if (dest instanceof ListNode && src instanceof ListNode) {
    dest.items.length = 0;
    for (const item of src.items) dest.push(cloneNode(item));
    dest.source = src.source;
    return;
  }
  if (!(dest instanceof MappingNode && src instanceof MappingNode)) throw kindMismatch(dest, src);
  for (const [key, srcChild] of src.entries()) mergeChild(dest, key, srcChild, struct);
}

function mergeChild(dest: MappingNode, key: Key, src: ConfigNode, struct: boolean): void {
  let old = dest.get(key);
  if (old instanceof ValueNode && old.isInterpolation) {
    const target = referredContainer(old);
    if (target) {
      dest.set(key, cloneNode(target));
      old = dest.get(key);
    }
  }
  if (old === undefined) {
    if (struct) throw unknownKey(dest, key);
    dest.set(key, cloneNode(src));
  } else if (isContainer(old) && isContainer(src)) mergeInto(old, src, struct);
  else if (!(src instanceof ValueNode && src.isMissing)) dest.set(key, cloneNode(src));
}

export interface UpdateOptions {
  /** Merge a mapping or list into what is there (default), or replace it. */
  merge?: boolean;
  /** Refuse new keys. */
  struct?: boolean;
}

/**
 * Sets `key` (dotted) of `root` to `value`. Mappings on the way are created, replacing scalars and references there.
 * Throws UnknownKeyError under `struct`, UserError for an index that is not in its list.
 */
export function updateAt(root: Container, key: string, value: ConfigNode, options: UpdateOptions = {}): void {
  const { merge = true, struct = false } = options;
  const path = parseKeyPath(key);
  // Nothing is relative here: a leading dot is an empty key.
  const parts = [
    ...Array.from({ length: path.up }, () => ""),
    ...(path.parts.length > 0 ? path.parts : [""]),
  ];
  let holder = root;
  for (const part of parts.slice(0, -1)) {
    const child = childAt(holder, part);
    if (isContainer(child)) holder = child;
    else {
      const created = new MappingNode();
      setChild(holder, part, created, struct);
      holder = created;
    }
  }
  const last = parts[parts.length - 1] ?? "";
  const old = childAt(holder, last);
  if (merge && isContainer(value) && isContainer(old)) mergeInto(old, value, struct);
  else setChild(holder, last, value, struct);
}

/** Removes `key` from a mapping. Throws UserError when it is not there, or when its holder is a list. */
export function deleteAt(root: Container, key: string): void {
  const dot = key.lastIndexOf(".");
  let holder: ConfigNode | undefined = root;
  if (dot >= 0)
    for (const part of parseKeyPath(key.slice(0, dot)).parts)
      holder = holder && followed(childAt(holder as Container, part));
  if (!(holder instanceof MappingNode))
    throw new UserError(`'${key}' cannot be deleted: only keys of a mapping can be`);
  if (!holder.delete(key.slice(dot + 1))) throw new UserError(`'${key}' does not exist`);
}

/** A plain JS value, as an override or a program gives it -> node. Strings are checked for malformed interpolations. */
export function nodeOf(value: unknown, source?: Source): ConfigNode {
  let node: ConfigNode;
  if (Array.isArray(value)) {
    node = new ListNode();
    for (const item of value) node.push(nodeOf(item, source));
  } else if (value instanceof Map) {
    node = new MappingNode();
    for (const [key, item] of value) {
      if (key === null) throw new UserError("null cannot be a key");
      node.set(key as Key, nodeOf(item, source));
    }
  } else if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) {
    node = new MappingNode();
    for (const [key, item] of Object.entries(value)) node.set(key, nodeOf(item, source));
  } else {
    if (typeof value === "string") assertInterpolationSyntax(value);
    node = new ValueNode(value === undefined ? null : (value as ValueNode["value"]));
  }
  node.source = source;
  return node;
}

function referredContainer(node: ValueNode): Container | undefined {
  try {
    const target = resolveNode(node);
    return isContainer(target) ? target : undefined;
  } catch (error) {
    // A reference that cannot be followed (yet) is simply replaced.
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

function followed(node: ConfigNode | undefined): ConfigNode | undefined {
  return node instanceof ValueNode && node.isInterpolation ? referredContainer(node) : node;
}

function childAt(holder: Container, part: string): ConfigNode | undefined {
  if (holder instanceof MappingNode) return holder.get(part);
  if (!(holder instanceof ListNode)) return undefined;
  return holder.items[listIndex(holder, part)];
}

function setChild(holder: Container, part: string, node: ConfigNode, struct: boolean): void {
  if (holder instanceof MappingNode) {
    if (struct && !holder.has(part)) throw unknownKey(holder, part);
    holder.set(part, node);
    return;
  }
  const index = listIndex(holder, part);
  if (!(index in holder.items)) {
    throw new UserError(`'${holder.path}' has ${holder.items.length} elements: there is no index ${part}`);
  }
  holder.set(index, node);
}

function listIndex(list: ListNode, part: string): number {
  if (!/^[+-]?\d+$/.test(part)) throw new UserError(`'${list.path}' is a list: '${part}' is not an index`);
  const index = Number(part);
  return index < 0 ? index + list.items.length : index;
}

function unknownKey(holder: MappingNode, key: Key): UnknownKeyError {
  const path = holder.path === "" ? keyText(key) : `${holder.path}.${keyText(key)}`;
  const suggestion = suggestKey(holder.root, path);
  return new UnknownKeyError(`there is no key '${path}'${suggestion ? `; did you mean ${suggestion}?` : ""}`);
}

function kindMismatch(dest: Container, src: Container): UserError {
  const name = (node: Container) => (node instanceof ListNode ? "list" : "mapping");
  const where = describeSource(src.source);
  return new UserError(
    `'${dest.path}' is a ${name(dest)}: a ${name(src)}${where ? ` (${where})` : ""} cannot be merged into it`,
  );
}
