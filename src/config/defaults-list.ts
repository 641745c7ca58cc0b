/**
 * Hydra's defaults list: from a primary config and the group choices of the command line to the final list of files in
 * merge order. A file's items are visited from the last to the first, depth first; an `override` counts from the moment
 * its file is entered, and the first record for a key wins. Hence: command line over outer file over nested file.
 */
import { UserError } from "../errors.ts";
import { DefaultsItem } from "./defaults-item.ts";
import { GroupChoices } from "./group-choices.ts";
import { nodeOf } from "./merge.ts";
import { describeSource, type MappingNode, ValueNode } from "./node.ts";
import type { Override } from "./override-grammar.ts";
import type { ConfigRepository, LoadedConfig } from "./repository.ts";
import { resolveNode } from "./resolve.ts";
import { nearest } from "./suggest.ts";
import { nameKeywords } from "./version-base.ts";

/** One file of the final list. */
export interface ResultDefault {
  configPath: string;
  package: string;
  /** Is this the file's own content within its defaults list (`_self_`)? */
  isSelf: boolean;
  /** The file whose defaults list names it; undefined for the primary config. */
  parent: string | undefined;
}

/** The defaults list as a tree, for people: what names what. */
export interface DefaultsTree {
  /** `group: option`, the path of a file, or `_self_`. */
  label: string;
  children: DefaultsTree[];
}

export interface DefaultsResult {
  /** Files in merge order: later ones win. */
  defaults: ResultDefault[];
  /** The option of each group: `group` or `group@package` -> option. */
  choices: Map<string, string | null>;
  /** The overrides that set values rather than choose options. */
  valueOverrides: Override[];
  tree: DefaultsTree;
}

/** Stands for the primary config where there is none. */
export const EMPTY_CONFIG = "_dummy_empty_config_";

/** Nesting beyond this is a file that includes itself. */
const MAX_DEPTH = 100;

/** Builds the final list. Throws UserError for unknown files, groups and options, and for contradictory choices. */
export function buildDefaultsList(
  repository: ConfigRepository,
  configName: string | null,
  overrides: Override[],
): DefaultsResult {
  const choices = new GroupChoices(repository, overrides);
  const builder = new TreeBuilder(repository, choices);
  const root = builder.root(configName);
  const defaults: ResultDefault[] = [];
  builder.flatten(root, undefined, defaults, new Set());
  choices.check();
  return {
    defaults,
    choices: choices.known,
    valueOverrides: choices.valueOverrides,
    tree: builder.outline(root),
  };
}

/** A file with the items of its defaults list. Without `children` it has no list: only its content counts. */
interface TreeNode {
  item: DefaultsItem;
  children: TreeNode[] | undefined;
}

class TreeBuilder {
  readonly repository: ConfigRepository;
  readonly choices: GroupChoices;

  constructor(repository: ConfigRepository, choices: GroupChoices) {
    this.repository = repository;
    this.choices = choices;
  }

  root(configName: string | null): TreeNode {
    const item = new DefaultsItem("config", configName ?? EMPTY_CONFIG);
    this.#readHeader(item);
    return this.#grow(item, { isRoot: true, file: "", inInterpolated: false, depth: 0 });
  }

  /** Appends the files of a tree in merge order. */
  flatten(node: TreeNode, parent: string | undefined, out: ResultDefault[], keys: Set<string>): void {
    const { item } = node;
    const version = this.repository.version;
    if (node.children) {
      for (const child of node.children) {
        if (child.item.kind === "self") {
          out.push({
            configPath: item.configPath,
            package: item.finalPackage(version),
            isSelf: true,
            parent,
          });
        } else this.flatten(child, item.configPath, out, keys);
      }
      return;
    }
    if (item.deleted || item.name === null) return;
    if (item.kind === "group") {
      const key = item.overrideKey(version);
      if (keys.has(key)) throw new UserError(`group '${key}' appears more than once in the defaults list`);
      keys.add(key);
    }
    out.push({ configPath: item.configPath, package: item.finalPackage(version), isSelf: false, parent });
  }

  /** The same tree, for people. */
  outline({ item, children }: TreeNode): DefaultsTree {
    let label = item.kind === "self" ? "_self_" : item.configPath;
    if (item.kind === "group") label = `${item.overrideKey(this.repository.version)}: ${item.name ?? "null"}`;
    return {
      label: item.deleted ? `${label} (left out)` : label,
      children: (children ?? []).map((child) => this.outline(child)),
    };
  }

  #grow(
    item: DefaultsItem,
    context: { isRoot: boolean; file: string; inInterpolated: boolean; depth: number },
  ): TreeNode {
    const leaf: TreeNode = { item, children: undefined };
    if (context.depth > MAX_DEPTH)
      throw new UserError(`${context.file}: '${item.configPath}' includes itself`);
    if (this.choices.isDeleted(item)) {
      item.deleted = true;
      return leaf;
    }
    this.choices.know(item);
    if (item.name === null) return leaf;
    if (item.name.endsWith("???")) throw this.#unchosen(item);
    const loaded = this.#load(item, context);
    if (!loaded) {
      if (item.optional) {
        item.deleted = true;
        return leaf;
      }
      throw this.#notFound(item, context);
    }
    const items = loaded.defaults?.() ?? [];
    if (items.length === 0 && !(context.isRoot && this.choices.appended.length > 0)) return leaf;
    const onlyOverrides = items.length > 0 && items.every((entry) => entry.override);
    const selfAdded = addSelf(items, loaded.file);
    const appended = context.isRoot ? this.choices.appended : [];
    items.push(...appended);
    this.#recordOverrides(items, item, loaded.file, context.inInterpolated);
    // A file that only overrides what others chose has no files of its own.
    if (onlyOverrides && appended.length === 0) return leaf;
    return { item, children: this.#children(items, item, { ...context, file: loaded.file }, selfAdded) };
  }

  #recordOverrides(items: DefaultsItem[], parent: DefaultsItem, file: string, inInterpolated: boolean): void {
    const version = this.repository.version;
    let seen: DefaultsItem | undefined;
    for (const item of items) {
      if (item.kind === "self") continue;
      item.place(parent.group, parent.finalPackage(version));
      // Up to 1.1 an item `hydra/...` replaces Hydra's own choice without the word `override`.
      const legacy =
        nameKeywords(version) && item.kind === "group" && !item.override && item.path.startsWith("hydra/");
      if (item.override || legacy) {
        if (inInterpolated) {
          throw new UserError(
            `${file}: 'override' is not possible in a file that an interpolation in the defaults list chose`,
          );
        }
        seen = item;
        this.choices.record(item, file);
      } else if (seen && !item.appended) {
        throw new UserError(
          `${describeSource(item.source) || file}: '${item.path}' stands after 'override ${seen.path}'; overrides must be at the end`,
        );
      }
    }
  }

  #children(
    items: DefaultsItem[],
    parent: DefaultsItem,
    context: { file: string; inInterpolated: boolean; depth: number },
    selfAdded: boolean,
  ): TreeNode[] {
    const version = this.repository.version;
    const inner = {
      isRoot: false,
      file: context.file,
      inInterpolated: context.inInterpolated,
      depth: context.depth + 1,
    };
    const place = (item: DefaultsItem) => item.place(parent.group, parent.finalPackage(version));
    const children: TreeNode[] = [];
    for (const item of [...items].reverse()) {
      if (item.kind === "self") {
        if (item.package !== undefined) throw new UserError(`${context.file}: '_self_' takes no package`);
        children.push({ item, children: undefined });
        continue;
      }
      if (item.override || isLegacyHydra(item, version)) continue;
      place(item);
      this.choices.apply(item);
      if (Array.isArray(item.choice)) {
        for (const option of [...item.choice].reverse()) {
          if (option.includes("${"))
            throw new UserError(`${context.file}: no interpolation in a list of options ('${option}')`);
          const config = new DefaultsItem("config", `${item.path}/${option}`, {
            package: item.package,
            optional: item.optional,
            source: item.source,
          });
          place(config);
          this.#readHeader(config);
          children.push(this.#grow(config, inner));
        }
      } else if (item.isInterpolation) children.push({ item, children: undefined });
      else {
        this.#readHeader(item);
        children.push(this.#grow(item, inner));
      }
    }
    // Interpolations see what their siblings, and all that came before in this order, have chosen.
    const scope = this.#interpolationScope(items, selfAdded);
    for (const [i, child] of children.entries()) {
      if (child.item.kind === "self" || !child.item.isInterpolation) continue;
      const value = this.#interpolate(child.item, scope, context.file);
      if (child.item.kind === "group") child.item.choice = value;
      else child.item.path = value;
      this.#readHeader(child.item);
      children[i] = this.#grow(child.item, { ...inner, inInterpolated: true });
    }
    return children.reverse();
  }

  /** The known choices, and (for lists of Hydra 1.0) the items of this list as `defaults`. */
  #interpolationScope(items: DefaultsItem[], selfAdded: boolean): MappingNode {
    const version = this.repository.version;
    const scope = nodeOf(new Map(this.choices.known)) as MappingNode;
    const list = items
      .filter((item) => !(selfAdded && item.kind === "self"))
      .map((item) =>
        item.kind === "group" ? new Map([[item.overrideKey(version), item.choice]]) : item.configPath,
      );
    if (nameKeywords(version)) scope.set("defaults", nodeOf(list));
    return scope;
  }

  #interpolate(item: DefaultsItem, scope: MappingNode, file: string): string {
    const text = item.kind === "group" ? (item.choice as string) : item.path;
    const node = new ValueNode(text, item.source);
    node.parent = scope;
    try {
      const value = resolveNode(node);
      if (typeof value === "string") return value;
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      const known = [...this.choices.known.keys()].join(", ");
      throw new UserError(
        `${describeSource(item.source) || file}: cannot resolve '${text}' (${error.message}); groups chosen here: ${known}`,
      );
    }
    throw new UserError(
      `${describeSource(item.source) || file}: '${text}' does not give the name of an option`,
    );
  }

  #readHeader(item: DefaultsItem): void {
    item.header = undefined;
    if (item.name === null || item.name.endsWith("???") || Array.isArray(item.choice)) return;
    const loaded = this.repository.load(item.configPath);
    if (loaded) item.setHeader(loaded.package, this.repository.version);
  }

  #load(item: DefaultsItem, context: { isRoot: boolean }): LoadedConfig | undefined {
    if (context.isRoot && item.path === EMPTY_CONFIG) return this.repository.empty;
    return this.repository.load(item.configPath);
  }

  #unchosen(item: DefaultsItem): UserError {
    const key = item.overrideKey(this.repository.version);
    const options = this.repository.options(item.group).join(", ");
    return new UserError(`an option of '${key}' must be chosen: ${key}=OPTION, one of: ${options}`);
  }

  #notFound(item: DefaultsItem, context: { isRoot: boolean; file: string }): UserError {
    const places = this.repository.directories.join(", ");
    if (context.isRoot) return new UserError(`there is no config '${item.configPath}' in ${places}`);
    const where = describeSource(item.source) || context.file;
    const options =
      this.repository.groupExists(item.group) || item.group === ""
        ? this.repository.options(item.group)
        : undefined;
    const similar = options && nearest(item.name ?? "", options);
    const hint = similar ? `; did you mean ${similar}?` : "";
    const listed = options
      ? `; options of '${item.group}': ${options.join(", ")}`
      : `; there is no group '${item.group}'`;
    return new UserError(`${where}: could not find '${item.configPath}'${hint}${listed}`);
  }
}

function isLegacyHydra(item: DefaultsItem, version: ConfigRepository["version"]): boolean {
  return nameKeywords(version) && item.kind === "group" && item.path.startsWith("hydra/");
}

/** A list without `_self_` gets it at the end: the file's content wins over its defaults. */
function addSelf(items: DefaultsItem[], file: string): boolean {
  const own = items.filter((item) => item.kind === "self").length;
  if (own > 1) throw new UserError(`${file}: '_self_' stands twice in the defaults list`);
  if (own === 0) items.push(new DefaultsItem("self", "_self_"));
  return own === 0;
}
