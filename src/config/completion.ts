/** Shell completion: what the last word of a command line of `train` or `config` can become. */
import { UserError } from "../errors.ts";
import { CONFIG_FLAGS, INSPECTION_FLAGS, parseCommandLine, TRAINING_FLAGS } from "./command-line.ts";
import type { ComposedConfig } from "./config.ts";
import { schemaKeys, trainRepository } from "./help.ts";
import { children, isContainer, keyText, MappingNode, ValueNode } from "./node.ts";
import { parseOverride } from "./override-grammar.ts";
import { overrideText } from "./override-value.ts";
import type { ConfigRepository } from "./repository.ts";
import { composeTrainConfig, type TrainConfigOptions } from "./train-config.ts";

/**
 * The whole words (not only their ends) that `word` can become after the words `before`. A word that ends in "=", "." or
 * "/" is not finished.
 */
export function completions(command: "train" | "config", before: string[], word: string): string[] {
  const flags = { ...CONFIG_FLAGS, ...(command === "train" ? TRAINING_FLAGS : INSPECTION_FLAGS) };
  const previous = before.at(-1) ?? "";
  const choices = Object.entries(flags).find(
    ([name, { short }]) => previous === name || previous === short,
  )?.[1].choices;
  if (choices) return choices.filter((choice) => choice.startsWith(word));
  if (word.startsWith("-")) return Object.keys(flags).filter((flag) => flag.startsWith(word));
  const line = readLine(before, flags);
  const repository = trainRepository(line.options);
  const [, prefix, rest] = /^(\+\+|\+|~|)(.*)$/s.exec(word)!;
  const equals = rest!.indexOf("=");
  const words =
    equals < 0
      ? [...groupWords(repository, rest!), ...keyWords(compose(line), rest!)]
      : valueWords(repository, () => compose(line), rest!.slice(0, equals), rest!.slice(equals + 1));
  return [...new Set(words)].map((text) => prefix + text);
}

/** `solver=`, and `solver/` where there are groups below it. */
function groupWords(repository: ConfigRepository, start: string): string[] {
  const groups = repository.groups().filter((group) => group.startsWith(start));
  // Only the next part of the path, as file names are completed.
  const next = new Set<string>();
  for (const group of groups) {
    const slash = group.indexOf("/", start.length);
    if (slash >= 0) next.add(group.slice(0, slash + 1));
    else if (hasOptions(repository, group)) next.add(`${group}=`);
  }
  return [...next];
}

function hasOptions(repository: ConfigRepository, group: string): boolean {
  return (
    repository.options(group).length > 0 || repository.groups().some((other) => other.startsWith(`${group}/`))
  );
}

/** The options of a group, `musicgen/` for the groups in it; else the values a key may have. */
function valueWords(
  repository: ConfigRepository,
  config: () => ComposedConfig | undefined,
  key: string,
  value: string,
): string[] {
  // Of a sweep `a,b` the last value is completed.
  const comma = value.startsWith("[") || value.startsWith("{") ? -1 : value.lastIndexOf(",");
  const done = `${key}=${value.slice(0, comma + 1)}`;
  const start = value.slice(comma + 1);
  const group = key.split("@")[0]!;
  const candidates = repository.groupExists(group)
    ? optionWords(repository, group, start)
    : keyValues(config(), key, start);
  return candidates.filter((candidate) => candidate.startsWith(start)).map((candidate) => done + candidate);
}

/** An option may be in a group below: `solver=musicgen/tiny`. */
function optionWords(repository: ConfigRepository, group: string, start: string): string[] {
  const slash = start.lastIndexOf("/");
  const inside = slash < 0 ? "" : start.slice(0, slash);
  const folder = inside === "" ? group : `${group}/${inside}`;
  const lead = inside === "" ? "" : `${inside}/`;
  const below = repository
    .groups()
    .filter((other) => other.startsWith(`${folder}/`) && !other.slice(folder.length + 1).includes("/"))
    .map((other) => `${lead}${other.slice(folder.length + 1)}/`);
  return [...repository.options(folder).map((option) => lead + option), ...below];
}

/** The allowed values; the present value where they cannot be listed. */
function keyValues(config: ComposedConfig | undefined, key: string, start: string): string[] {
  const schema = [...schemaKeys()].find(([name]) => name === key)?.[1];
  if (schema?.values) return [...schema.values];
  const node = config?.node(key);
  if (start !== "" || !(node instanceof ValueNode) || node.isInterpolation) return [];
  return [typeof node.value === "boolean" ? String(node.value) : overrideText(node.value as string)];
}

/** `optim.lr=`, and `optim.` for a mapping. */
function keyWords(config: ComposedConfig | undefined, start: string): string[] {
  if (!config) return [];
  const parent = start.includes(".") ? start.slice(0, start.lastIndexOf(".")) : "";
  const node = parent === "" ? config.root : config.node(parent);
  if (!(node instanceof MappingNode)) return [];
  return children(node)
    .map(([key, child]) => {
      const name = parent === "" ? keyText(key) : `${parent}.${keyText(key)}`;
      return isContainer(child) && child instanceof MappingNode ? `${name}.` : `${name}=`;
    })
    .filter((name) => name.startsWith(start));
}

interface Line {
  overrides: string[];
  options: TrainConfigOptions;
}

/** What the words before say; those that cannot be read yet are left out. */
function readLine(before: string[], flags: Parameters<typeof parseCommandLine>[1]): Line {
  try {
    const { overrides, options } = parseCommandLine(before, flags);
    return { overrides: overrides.filter(isOverride), options };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { overrides: before.filter(isOverride), options: {} };
  }
}

function isOverride(word: string): boolean {
  try {
    parseOverride(word);
    return true;
  } catch {
    return false;
  }
}

/** The config so far; while it cannot be composed, the one of the default solver. */
function compose(line: Line): ComposedConfig | undefined {
  for (const overrides of [line.overrides, []]) {
    try {
      return composeTrainConfig(overrides, line.options);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
    }
  }
  return undefined;
}
