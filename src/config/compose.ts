/** Composition: the files of the defaults list merged in order, then the command line's overrides under struct mode. */
import path from "node:path";
import { UserError } from "../errors.ts";
import { ComposedConfig } from "./config.ts";
import { buildDefaultsList, EMPTY_CONFIG } from "./defaults-list.ts";
import { hydraNode } from "./hydra-node.ts";
import { deleteAt, mergeInto, nodeOf, UnknownKeyError, updateAt } from "./merge.ts";
import { type ConfigNode, cloneNode, isContainer, ListNode, MappingNode, ValueNode } from "./node.ts";
import { type Override, overrideValue, parseOverride } from "./override-grammar.ts";
import { Sweep } from "./override-value.ts";
import { ConfigRepository } from "./repository.ts";
import { NotAContainerError, resolvedCopy, select, type Value, valueText } from "./resolve.ts";
import { pyEqual, type Scalar } from "./scalar.ts";
import type { VersionBase } from "./version-base.ts";

export interface ComposeOptions {
  /** The directory of the tree. */
  configDir: string;
  /** The primary config, without extension; null: only what the overrides add. */
  configName?: string | null;
  overrides?: string[];
  /** More directories, searched after `configDir`. */
  searchPath?: string[];
  /** A config merged before everything else: keys that the primary config need not know. */
  base?: string;
  /** Hydra's version whose rules apply; AudioCraft's 1.1 by default. */
  version?: VersionBase;
}

/** Composes a config. Every mistake a user can make is a UserError naming the file or the override. */
export function composeConfig(options: ComposeOptions): ComposedConfig {
  const overrides = (options.overrides ?? []).map(parseOverride);
  return composeFrom(openRepository(options, overrides), options, overrides);
}

/** {@link composeConfig} on files already read: composing again with other overrides costs little. */
export function composeFrom(
  repository: ConfigRepository,
  options: ComposeOptions,
  overrides: Override[],
): ComposedConfig {
  const configName = options.configName === undefined ? "config" : options.configName;
  const result = buildDefaultsList(repository, configName, overrides);
  const root = new MappingNode();
  root.set("hydra", hydraNode());
  if (options.base !== undefined) mergeFile(root, repository, { configPath: options.base, package: "" });
  for (const item of result.defaults) mergeFile(root, repository, item);
  for (const override of result.valueOverrides) applyOverride(root, override);
  const hydra = root.get("hydra") as MappingNode;
  root.delete("hydra");
  return new ComposedConfig(root, {
    choices: result.choices,
    defaults: result.defaults,
    tree: result.tree,
    hydra,
    searchPath: repository.directories,
    overrides: overrides.map((override) => override.input),
  });
}

/** The repository that `options` and `hydra.searchpath` (in the primary config or an override) name. */
export function openRepository(options: ComposeOptions, overrides: Override[]): ConfigRepository {
  const version = options.version ?? "1.1";
  const directories = [options.configDir, ...(options.searchPath ?? [])];
  const repository = new ConfigRepository(directories, version);
  const name = options.configName === undefined ? "config" : options.configName;
  const primary = name === null ? undefined : repository.load(name)?.config;
  const fromFile = primary instanceof MappingNode ? primary.get("hydra") : undefined;
  let extra: unknown[] = [];
  if (fromFile instanceof MappingNode) {
    const list = fromFile.get("searchpath");
    if (list instanceof ListNode)
      extra = list.items.map((item) => (item instanceof ValueNode ? item.value : null));
  }
  for (const override of overrides) {
    if (override.key === "hydra.searchpath") extra = [overrideValue(override)].flat();
  }
  if (extra.length === 0) return repository;
  return new ConfigRepository([...directories, ...extra.map(searchDirectory)], version);
}

/** Applies overrides to an existing config: keys may be changed, `+` adds, `~` deletes. */
export function applyOverrides(config: ComposedConfig, overrides: string[]): ComposedConfig {
  const root = cloneNode(config.root);
  for (const text of overrides) {
    const override = parseOverride(text);
    if (override.parsed instanceof Sweep) throw new UserError(`'${text}': a sweep is not possible here`);
    applyOverride(root, override);
  }
  return new ComposedConfig(root, {
    ...config.composition,
    overrides: [...config.composition.overrides, ...overrides],
  });
}

function searchDirectory(entry: unknown): string {
  if (typeof entry !== "string") throw new UserError("hydra.searchpath must be a list of directories");
  if (entry.startsWith("pkg://"))
    throw new UserError(`hydra.searchpath: '${entry}' names a Python package; give a directory`);
  return path.resolve(entry.replace(/^file:\/\//, ""));
}

function mergeFile(
  root: MappingNode,
  repository: ConfigRepository,
  item: { configPath: string; package: string },
): void {
  const loaded = repository.load(item.configPath);
  if (!loaded) {
    if (item.configPath === EMPTY_CONFIG) return;
    throw new UserError(`there is no config '${item.configPath}' in ${repository.directories.join(", ")}`);
  }
  let content = cloneNode(loaded.config);
  if (item.package !== "") {
    const wrapper = new MappingNode();
    updateAt(wrapper, item.package, content, { merge: false });
    content = wrapper;
  }
  if (!(content instanceof MappingNode))
    throw new UserError(`${loaded.file}: the whole config cannot be a list`);
  const hydra = content.get("hydra");
  content.delete("hydra");
  try {
    if (hydra instanceof MappingNode) mergeInto(root.get("hydra") as MappingNode, hydra, true);
    mergeInto(root, content);
  } catch (error) {
    if (error instanceof UserError && !error.message.startsWith(loaded.file)) {
      throw new UserError(`${loaded.file}: ${error.message}`);
    }
    throw error;
  }
}

function applyOverride(root: MappingNode | ListNode, override: Override): void {
  const { key, input } = override;
  if (key.startsWith("hydra/")) return;
  if (override.package !== undefined) {
    throw new UserError(`'${input}' looks like the choice of a group option, but there is no group '${key}'`);
  }
  const value = overrideValue(override);
  try {
    if (override.type === "DEL") deleteKey(root, override, value);
    else {
      const isContainerValue = Array.isArray(value) || value instanceof Map;
      if (override.type === "ADD" && !isContainerValue && hasValue(root, key)) {
        throw new UserError(
          `'${key}' exists already; drop the '+' (${input.slice(1)}) or write ++${input.slice(1)}`,
        );
      }
      updateAt(root, key, nodeOf(value, { override: input }), { struct: override.type === "CHANGE" });
    }
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const hint = error instanceof UnknownKeyError ? ` (to add a new key write +${input})` : "";
    throw new UserError(`override '${input}': ${error.message}${hint}`);
  }
}

/** Is there anything but null and `???` at the key? Below a scalar there is not. */
function hasValue(root: MappingNode | ListNode, key: string): boolean {
  try {
    return (select(root, key) ?? null) !== null;
  } catch (error) {
    if (error instanceof NotAContainerError) return false;
    throw error;
  }
}

function deleteKey(root: MappingNode | ListNode, override: Override, value: unknown): void {
  const current = select(root, override.key) ?? null;
  if (current === null) throw new UserError(`'${override.key}' does not exist`);
  if (value !== null && !sameValue(current, value)) {
    throw new UserError(
      `the value of '${override.key}' is ${valueText(current)}, not ${valueText(value as Value)}`,
    );
  }
  deleteAt(root, override.key);
}

function sameValue(current: Value, wanted: unknown): boolean {
  if (!isContainer(current)) return !isCollection(wanted) && pyEqual(current as Scalar, wanted as Scalar);
  return isCollection(wanted) && sameNodes(resolvedCopy(current), nodeOf(wanted));
}

function isCollection(value: unknown): boolean {
  return Array.isArray(value) || value instanceof Map;
}

/** Python's `==` between two trees without interpolations: mappings regardless of order, scalars by value. */
export function sameNodes(a: ConfigNode, b: ConfigNode): boolean {
  if (a instanceof ValueNode || b instanceof ValueNode) {
    return a instanceof ValueNode && b instanceof ValueNode && pyEqual(a.value, b.value);
  }
  if (a instanceof ListNode || b instanceof ListNode) {
    if (!(a instanceof ListNode && b instanceof ListNode) || a.items.length !== b.items.length) return false;
    return a.items.every((item, i) => sameNodes(item, b.items[i]!));
  }
  if (a.size !== b.size) return false;
  return a.entries().every(([key, child]) => {
    const other = b.get(key);
    return other !== undefined && sameNodes(child, other);
  });
}
