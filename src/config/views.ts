/** What `--cfg` and `--info` print: the composed config or a part of it, and how it came about. */
import { pathToFileURL } from "node:url";
import { UserError } from "../errors.ts";
import type { CommandLine } from "./command-line.ts";
import { ComposedConfig } from "./config.ts";
import type { DefaultsTree } from "./defaults-list.ts";
import { nodeOf } from "./merge.ts";
import { cloneNode, isContainer, MappingNode } from "./node.ts";
import { select, type Value, valueText } from "./resolve.ts";
import { suggestKey } from "./suggest.ts";
import { tableText } from "./text-table.ts";
import { composeTrainConfig } from "./train-config.ts";

/** The text that a command line with `--cfg` or `--info` asks for. */
export function configView(line: CommandLine): string {
  const config = composeTrainConfig(line.overrides, line.options);
  return line.info === undefined ? cfgText(line, config) : infoText(line.info, config);
}

function cfgText(line: CommandLine, config: ComposedConfig): string {
  const shown = withHydra(config, line.cfg!);
  const resolve = line.flags.has("--resolve");
  const isJson = line.flags.has("--json");
  const isWhole = line.package === undefined || line.package === "_global_";
  const part = isWhole ? shown : packageOf(shown, line.package!);
  if (!(part instanceof ComposedConfig)) return isJson ? `${jsonText(part)}\n` : `${valueText(part)}\n`;
  if (isJson) return `${part.toJson({ resolve })}\n`;
  const header = isWhole ? "" : `# @package ${line.package}\n`;
  return header + part.toYaml({ resolve });
}

/** `job`: the config; `hydra`: Hydra's own node; `all`: both. */
function withHydra(config: ComposedConfig, kind: "job" | "hydra" | "all"): ComposedConfig {
  if (kind === "job") return config;
  const root = kind === "all" ? (cloneNode(config.root) as MappingNode) : new MappingNode();
  root.set("hydra", hydraNodeOf(config));
  return new ComposedConfig(root, config.composition);
}

/** Hydra's node with what is known here: the rest of its keys have no meaning in this program. */
function hydraNodeOf(config: ComposedConfig): MappingNode {
  const node = config.composition.hydra ? cloneNode(config.composition.hydra) : new MappingNode();
  const set = (key: string, entries: [string, unknown][]) => {
    const child = node.get(key);
    const mapping = child instanceof MappingNode ? child : new MappingNode();
    for (const [name, value] of entries) mapping.set(name, nodeOf(value));
    if (mapping !== child) node.set(key, mapping);
  };
  const primary = config.defaults.find(({ parent, isSelf }) => parent === undefined || isSelf);
  set("overrides", [["task", config.overrides]]);
  set("job", [["config_name", primary?.configPath ?? null]]);
  set("runtime", [
    ["version_base", "1.1"],
    ["config_sources", config.composition.searchPath.map((directory) => new Map([["path", directory]]))],
    ["choices", config.choices],
  ]);
  return node;
}

/** A part of a config, still at its place in the tree: interpolations in it keep their meaning. */
function packageOf(config: ComposedConfig, key: string): ComposedConfig | Value {
  const value = select(config.root, key, { throwOnMissing: false });
  if (value === undefined || value === null) {
    const suggestion = suggestKey(config.root, key);
    const hint = suggestion ? `; did you mean ${suggestion}?` : "";
    throw new UserError(`--package ${key}: the config has no such key${hint}`);
  }
  return isContainer(value) ? new ComposedConfig(value, config.composition) : value;
}

function jsonText(value: Value): string {
  return typeof value === "bigint" ? String(value) : JSON.stringify(value);
}

type Info = NonNullable<CommandLine["info"]>;

function infoText(info: Info, config: ComposedConfig): string {
  const parts: Record<Exclude<Info, "all">, () => string> = {
    searchpath: () => heading("Config search path") + searchPathTable(config),
    "defaults-tree": () => heading("Defaults Tree") + treeText(config.composition.tree!),
    defaults: () => heading("Defaults List") + defaultsTable(config),
    config: () => heading("Config") + config.toYaml({ resolve: false }),
  };
  if (info !== "all") return parts[info]();
  return Object.values(parts)
    .map((part) => part())
    .join("\n");
}

function heading(title: string): string {
  return `${title}\n${"*".repeat(title.length)}\n`;
}

function searchPathTable(config: ComposedConfig): string {
  const rows = config.composition.searchPath.map((directory, i) => [
    i === 0 ? "main" : "added",
    pathToFileURL(directory).href,
  ]);
  return tableText(["Provider", "Search path"], rows);
}

function defaultsTable(config: ComposedConfig): string {
  const rows = config.defaults.map((item) => [
    item.configPath,
    item.package,
    item.isSelf ? "True" : "False",
    item.parent ?? "<root>",
  ]);
  return tableText(["Config path", "Package", "_self_", "Parent"], rows);
}

function treeText(tree: DefaultsTree, indent = ""): string {
  const colon = tree.children.length > 0 ? ":" : "";
  const below = tree.children.map((child) => treeText(child, `${indent}  `)).join("");
  return `${indent}${tree.label}${colon}\n${below}`;
}
