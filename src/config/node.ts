/** The tree a config is made of: mappings, lists and scalar values, each knowing its parent and where it was written. */
import type { Scalar } from "./scalar.ts";

/** Where a value was written: a file position, or the command-line override that set it. */
export interface Source {
  file?: string;
  line?: number;
  column?: number;
  override?: string;
}

export type Key = string | bigint | number | boolean;
export type ConfigNode = MappingNode | ListNode | ValueNode;
export type Container = MappingNode | ListNode;

/** The text that stands for "must be given": reading it is an error. */
export const MISSING = "???";

abstract class TreeNode {
  parent: Container | null = null;
  /** Key (in a mapping) or index (in a list) under the parent. */
  key: Key = "";
  source: Source | undefined;

  get root(): Container {
    let node: TreeNode = this;
    while (node.parent) node = node.parent;
    return node as unknown as Container;
  }

  /** `a.b[0].c`: how messages name this node. */
  get path(): string {
    if (!this.parent) return "";
    const above = this.parent.path;
    if (this.parent instanceof ListNode) return `${above}[${this.key}]`;
    return above === "" ? keyText(this.key) : `${above}.${keyText(this.key)}`;
  }
}

export class ValueNode extends TreeNode {
  value: Scalar;

  constructor(value: Scalar, source?: Source) {
    super();
    this.value = value;
    this.source = source;
  }

  get isMissing(): boolean {
    return this.value === MISSING;
  }

  /** Does the text hold an interpolation (escaped ones count: they are unescaped when read)? */
  get isInterpolation(): boolean {
    return typeof this.value === "string" && this.value.includes("${");
  }
}

export class MappingNode extends TreeNode {
  // Keyed so that 1, 1.0 and true collide, as they do in Python, and "1" does not.
  readonly #entries = new Map<string, { key: Key; node: ConfigNode }>();

  get size(): number {
    return this.#entries.size;
  }

  get(key: Key): ConfigNode | undefined {
    return this.#entries.get(identity(key))?.node;
  }

  has(key: Key): boolean {
    return this.#entries.has(identity(key));
  }

  /** Puts `node` under `key` (it must not be part of another tree); an existing key keeps its place and its type. */
  set(key: Key, node: ConfigNode): void {
    const id = identity(key);
    const entry = this.#entries.get(id);
    node.parent = this;
    node.key = entry?.key ?? key;
    if (entry) entry.node = node;
    else this.#entries.set(id, { key, node });
  }

  delete(key: Key): boolean {
    return this.#entries.delete(identity(key));
  }

  keys(): Key[] {
    return [...this.#entries.values()].map((entry) => entry.key);
  }

  entries(): [Key, ConfigNode][] {
    return [...this.#entries.values()].map((entry) => [entry.key, entry.node]);
  }
}

export class ListNode extends TreeNode {
  readonly items: ConfigNode[] = [];

  push(node: ConfigNode): void {
    node.parent = this;
    node.key = BigInt(this.items.length);
    this.items.push(node);
  }

  set(index: number, node: ConfigNode): void {
    node.parent = this;
    node.key = BigInt(index);
    this.items[index] = node;
  }
}

export function isContainer(node: unknown): node is Container {
  return node instanceof MappingNode || node instanceof ListNode;
}

export function isNode(value: unknown): value is ConfigNode {
  return value instanceof TreeNode;
}

/** The children of a container with their keys (indices for a list). */
export function children(node: Container): [Key, ConfigNode][] {
  if (node instanceof MappingNode) return node.entries();
  return node.items.map((item, i) => [BigInt(i), item]);
}

/** A deep copy that belongs to no tree; sources are kept. */
export function cloneNode<T extends ConfigNode>(node: T): T {
  let copy: ConfigNode;
  if (node instanceof ValueNode) copy = new ValueNode(node.value);
  else if (node instanceof MappingNode) {
    copy = new MappingNode();
    for (const [key, child] of node.entries()) copy.set(key, cloneNode(child));
  } else {
    copy = new ListNode();
    for (const item of (node as ListNode).items) copy.push(cloneNode(item));
  }
  copy.source = node.source;
  return copy as T;
}

/** How a key reads in a path or a message. */
export function keyText(key: Key): string {
  if (typeof key === "boolean") return key ? "True" : "False";
  return typeof key === "number" && Number.isInteger(key) ? `${key}.0` : String(key);
}

function identity(key: Key): string {
  return typeof key === "string" ? `s${key}` : `n${Number(key)}`;
}

/** `file:line:column`, or the override, for messages; "" when unknown. */
export function describeSource(source: Source | undefined): string {
  if (!source) return "";
  if (source.override !== undefined) return `override '${source.override}'`;
  if (source.file === undefined) return "";
  return source.line === undefined ? source.file : `${source.file}:${source.line}:${source.column ?? 1}`;
}
