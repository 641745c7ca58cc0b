/** One item of a defaults list: another config file, an option of a group, or `_self_`; and the package it lands in. */
import { UserError } from "../errors.ts";
import { type ConfigNode, describeSource, ListNode, MappingNode, type Source, ValueNode } from "./node.ts";
import type { VersionBase } from "./version-base.ts";
import { nameKeywords } from "./version-base.ts";

/** An option of a group; several (`g: [a, b]`), or null for none. */
export type Choice = string | string[] | null;

/**
 * An item, placed below its parent file by {@link place}. `group` items select an option of a config group, `config`
 * items name a file, the `self` item marks where the file's own content goes.
 */
export class DefaultsItem {
  readonly kind: "config" | "group" | "self";
  /** The path of a config item, or the group of a group item; relative to the parent unless it begins with "/". */
  path: string;
  choice: Choice;
  /** What follows `@`, if anything. */
  package: string | undefined;
  readonly optional: boolean;
  readonly override: boolean;
  /** Appended by the command line (`+group=option`). */
  readonly appended: boolean;
  source: Source | undefined;
  /** `# @package` of the file this item loads. */
  header: string | undefined;
  deleted = false;
  parentGroup = "";
  parentPackage = "";

  constructor(
    kind: "config" | "group" | "self",
    path: string,
    options: {
      choice?: Choice;
      package?: string;
      optional?: boolean;
      override?: boolean;
      appended?: boolean;
      source?: Source;
    } = {},
  ) {
    this.kind = kind;
    this.path = path;
    this.choice = options.choice ?? null;
    // "_here_" is the parent's own package.
    this.package = options.package === "_here_" ? "" : options.package;
    this.optional = options.optional ?? false;
    this.override = options.override ?? false;
    this.appended = options.appended ?? false;
    this.source = options.source;
  }

  /** Puts the item below a parent file: its group and its final package. */
  place(parentGroup: string, parentPackage: string): void {
    this.parentGroup = parentGroup;
    this.parentPackage = parentPackage;
    if (this.package?.includes("_group_")) {
      this.package = `_global_.${this.package.replaceAll("_group_", this.group.replaceAll("/", "."))}`;
    }
  }

  /** The config group that the item's file is in, from the root of the search path. */
  get group(): string {
    const relative = this.relativeGroup;
    if (this.path.startsWith("/")) return collapse(relative);
    return collapse([this.parentGroup, relative].filter((part) => part !== "").join("/"));
  }

  /** The file's name within its group; null when no option is chosen. */
  get name(): string | null {
    if (this.kind === "group") return this.choice === null ? null : String(this.choice);
    return this.path.slice(this.path.lastIndexOf("/") + 1);
  }

  /** The file to load, relative to the search path, without extension. */
  get configPath(): string {
    return this.group === "" ? `${this.name}` : `${this.group}/${this.name}`;
  }

  get isInterpolation(): boolean {
    return (this.kind === "group" ? this.choice : this.path)?.includes("${") ?? false;
  }

  /** The package in which the file's content is put. */
  finalPackage(version: VersionBase, useHeader = true): string {
    let own =
      this.package ?? (useHeader ? this.header : undefined) ?? this.relativeGroup.replaceAll("/", ".");
    if (nameKeywords(version) && this.name !== null) own = own.replaceAll("_name_", this.name);
    const joined = [this.parentPackage, own].filter((part) => part !== "").join(".");
    // Everything up to the last "_global_" and one character after it is dropped: "__global__" is the root as well.
    const global = joined.lastIndexOf("_global_");
    return global < 0 ? joined : joined.slice(global + "_global_".length + 1);
  }

  /** The name by which overrides address a group item: `group`, or `group@package` when the package is not the usual one. */
  overrideKey(version: VersionBase): string {
    const final = this.finalPackage(version, false);
    if (final === this.group.replaceAll("/", ".")) return this.group;
    return `${this.group}@${final === "" ? "_global_" : final}`;
  }

  /** Takes the package of the file's header: unlike what follows `@`, it counts from the root. */
  setHeader(header: string | undefined, version: VersionBase): void {
    if (header === undefined) this.header = undefined;
    else {
      const group = this.group.replaceAll("/", ".");
      this.header = `_global_.${nameKeywords(version) ? header.replaceAll("_group_", group) : header}`;
    }
  }

  private get relativeGroup(): string {
    const path = this.path.replace(/^\//, "");
    if (this.kind === "group") return path;
    const slash = path.lastIndexOf("/");
    return slash < 0 ? "" : path.slice(0, slash);
  }
}

/** Reads the `defaults:` value of a file. Throws UserError for what a defaults list cannot hold. */
export function parseDefaultsList(defaults: ConfigNode, file: string, version: VersionBase): DefaultsItem[] {
  if (!(defaults instanceof ListNode)) throw invalid(defaults, file, "'defaults' must be a list");
  return defaults.items.map((item) => parseItem(item, file, version));
}

function parseItem(item: ConfigNode, file: string, version: VersionBase): DefaultsItem {
  if (item instanceof ValueNode && typeof item.value === "string") {
    const { path, packageName } = splitPackage(item.value);
    const kind = path === "_self_" ? "self" : "config";
    return new DefaultsItem(kind, path, { package: packageName, source: item.source });
  }
  if (!(item instanceof MappingNode))
    throw invalid(item, file, "an item must be a string or 'group: option'");
  const entries = item.entries();
  let optional = false;
  if (nameKeywords(version) && entries.length > 1) {
    // The form of Hydra 1.0: `{group: option, optional: true}`.
    const index = entries.findIndex(([key]) => key === "optional");
    if (index >= 0) {
      const flag = entries[index]![1];
      optional = flag instanceof ValueNode && flag.value === true;
      entries.splice(index, 1);
    }
  }
  if (entries.length !== 1) throw invalid(item, file, "an item must have exactly one 'group: option'");
  const [key, value] = entries[0]!;
  if (typeof key !== "string") throw invalid(item, file, "a group must be a string");
  const words = key.split(" ").filter((word) => word !== "");
  const { path, packageName } = splitPackage(words.pop() ?? "");
  for (const word of words) {
    if (word !== "optional" && word !== "override") throw invalid(item, file, `unknown keyword '${word}'`);
  }
  return new DefaultsItem("group", path, {
    choice: itemChoice(value, file),
    package: packageName,
    optional: optional || words.includes("optional"),
    override: words.includes("override"),
    source: item.source,
  });
}

function itemChoice(value: ConfigNode, file: string): Choice {
  if (value instanceof ValueNode && (value.value === null || typeof value.value === "string"))
    return value.value;
  if (value instanceof ListNode) {
    return value.items.map((option) => {
      if (option instanceof ValueNode && typeof option.value === "string") return option.value;
      throw invalid(option, file, "the options of a list must be strings");
    });
  }
  throw invalid(value, file, "an option must be a string, a list of strings, or null");
}

/** `group@package` -> both; `group@a:b` is accepted and `b` ignored. */
function splitPackage(text: string): { path: string; packageName: string | undefined } {
  const at = text.indexOf("@");
  if (at < 0) return { path: text, packageName: undefined };
  return { path: text.slice(0, at), packageName: text.slice(at + 1).split(":")[0] };
}

/** `solver/compression/../default` -> `solver/default`. */
function collapse(path: string): string {
  if (!path.includes("..")) return path;
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === ".." && parts.length > 0 && parts[parts.length - 1] !== "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

function invalid(node: ConfigNode, file: string, message: string): UserError {
  return new UserError(`${describeSource(node.source) || file}: ${message}`);
}
