/** A composed config: reading values by dotted key, and output as plain object, YAML or JSON. */
import { UserError } from "../errors.ts";
import type { DefaultsTree, ResultDefault } from "./defaults-list.ts";
import { dumpYaml } from "./dump-yaml.ts";
import { pythonJson } from "./json.ts";
import { parseKeyPath } from "./key-path.ts";
import { mergeInto, nodeOf } from "./merge.ts";
import {
  type ConfigNode,
  type Container,
  cloneNode,
  isNode,
  keyText,
  ListNode,
  MappingNode,
  type Source,
  ValueNode,
} from "./node.ts";
import { lookup, MissingValueError, requireNode, resolvedCopy, type Value } from "./resolve.ts";
import { suggestKey } from "./suggest.ts";
import { loadYaml } from "./yaml.ts";

export interface OutputOptions {
  /** Replace interpolations by their values (default), or keep their text. */
  resolve?: boolean;
  /** Throw MissingValueError at the first `???`, instead of leaving the text. */
  throwOnMissing?: boolean;
  /** Give `???` for an interpolation that leads to a `???`, instead of throwing. */
  keepMissing?: boolean;
}

/** How the config came about. */
export interface Composition {
  /** The chosen option of each group, keyed `group` or `group@package`. */
  choices: Map<string, string | null>;
  /** The files in merge order. */
  defaults: ResultDefault[];
  overrides: string[];
  /** The defaults list as a tree. */
  tree?: DefaultsTree;
  /** Hydra's own node, which is no part of the config. */
  hydra?: MappingNode;
  /** The directories searched, first to last. */
  searchPath: string[];
}

export class ComposedConfig {
  readonly root: Container;
  readonly composition: Composition;

  constructor(root: Container, composition: Partial<Composition> = {}) {
    this.root = root;
    this.composition = { choices: new Map(), defaults: [], overrides: [], searchPath: [], ...composition };
  }

  get choices(): Map<string, string | null> {
    return this.composition.choices;
  }

  get defaults(): ResultDefault[] {
    return this.composition.defaults;
  }

  get overrides(): string[] {
    return this.composition.overrides;
  }

  /**
   * The resolved value at a dotted key as plain JS (integers and floats are both numbers).
   * Throws UserError, with a suggestion, for a key that does not exist; MissingValueError for `???`.
   */
  get(key: string): unknown {
    const found = lookup(this.root, parseKeyPath(key).parts);
    if (found.status === "absent") {
      const suggestion = suggestKey(this.root, key);
      throw new UserError(
        `the config has no key '${key}'${suggestion ? `; did you mean ${suggestion}?` : ""}`,
      );
    }
    const value: Value = found.status === "missing" ? requireNode(found.node) : found.value;
    return toPlain(isNode(value) ? resolvedCopy(value, { throwOnMissing: true }) : resolvedValue(value));
  }

  /** Does the key exist, whatever its value? */
  has(key: string): boolean {
    return lookup(this.root, parseKeyPath(key).parts).status !== "absent";
  }

  /** The node at a dotted key, unresolved; undefined when there is none. */
  node(key: string): ConfigNode | undefined {
    let node: ConfigNode | undefined = this.root;
    for (const part of parseKeyPath(key).parts) {
      if (node instanceof MappingNode) node = node.get(part);
      else if (node instanceof ListNode) node = node.items[Number(part)];
      else return undefined;
    }
    return node;
  }

  /** Where the value at a key was written: file, line and column, or the override. */
  source(key: string): Source | undefined {
    return this.node(key)?.source;
  }

  /** A tree of plain JS values. Throws UserError for an interpolation that cannot be resolved. */
  toObject(options: OutputOptions = {}): Record<string, unknown> {
    return toPlain(this.#output(options)) as Record<string, unknown>;
  }

  /** YAML as OmegaConf writes it: `1` and `1.0` stay apart, and reading the text gives the same config. */
  toYaml(options: OutputOptions = {}): string {
    return dumpYaml(this.#output({ resolve: false, ...options }));
  }

  /** JSON with an indent of 2; `1.0` stays `1.0`. */
  toJson(options: OutputOptions = {}): string {
    return pythonJson(this.#output(options), 2);
  }

  /** A config with `values` (a plain object) merged over this one, new keys allowed. Whole numbers become integers. */
  merged(values: Record<string, unknown>): ComposedConfig {
    const root = cloneNode(this.root);
    mergeInto(root, nodeOf(withIntegers(values)) as Container);
    return new ComposedConfig(root, this.composition);
  }

  #output(options: OutputOptions): ConfigNode {
    if (options.resolve ?? true) return resolvedCopy(this.root, options);
    if (options.throwOnMissing) assertNoMissing(this.root);
    return this.root;
  }
}

/** Rebuilds a config from YAML text, such as the one stored in a checkpoint. `name` stands for it in messages. */
export function configFromYaml(text: string, name = "<config>"): ComposedConfig {
  return new ComposedConfig(loadYaml(text, name));
}

/** Plain JS values of a static tree; integers beyond 2^53 become bigint. */
export function toPlain(node: ConfigNode): unknown {
  if (node instanceof ListNode) return node.items.map(toPlain);
  if (node instanceof ValueNode) {
    if (typeof node.value !== "bigint") return node.value;
    const number = Number(node.value);
    return Number.isSafeInteger(number) ? number : node.value;
  }
  const object: Record<string, unknown> = {};
  for (const [key, child] of (node as MappingNode).entries()) {
    // defineProperty: a key called `__proto__` is data like any other.
    Object.defineProperty(object, keyText(key), {
      value: toPlain(child),
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return object;
}

function withIntegers(value: unknown): unknown {
  if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
  if (Array.isArray(value)) return value.map(withIntegers);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  return new Map(Object.entries(value).map(([key, item]) => [key, withIntegers(item)]));
}

function resolvedValue(value: Value): ConfigNode {
  return nodeOf(value);
}

function assertNoMissing(node: ConfigNode): void {
  if (node instanceof ValueNode) {
    if (node.isMissing) throw new MissingValueError(`'${node.path}' must be given (its value is ???)`);
  } else
    for (const child of node instanceof MappingNode ? node.entries().map((e) => e[1]) : node.items)
      assertNoMissing(child);
}
