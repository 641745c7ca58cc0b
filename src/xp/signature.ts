/**
 * An experiment's signature, as Dora computes it: the hash of what a command line changes, compared with the config that
 * its group choices alone give. Two command lines with the same meaning get the same experiment.
 */
import crypto from "node:crypto";
import { type ComposeOptions, composeFrom, openRepository, sameNodes } from "../config/compose.ts";
import { pythonJson } from "../config/json.ts";
import { nodeOf } from "../config/merge.ts";
import {
  type ConfigNode,
  cloneNode,
  isNode,
  type Key,
  keyText,
  ListNode,
  MappingNode,
  ValueNode,
} from "../config/node.ts";
import { parseOverride } from "../config/override-grammar.ts";
import { matchesPattern } from "../config/pattern.ts";
import { requireNode, resolvedCopy, type Value, valueText } from "../config/resolve.ts";
import { pyStr } from "../config/scalar.ts";
import {
  CONFIG_DIR,
  provideUserVariable,
  RUNTIME_BASE,
  type TrainConfigOptions,
  trainArgv,
} from "../config/train-config.ts";
import { UserError } from "../errors.ts";

/** What differs: a dotted key (or a group) and its value, a static tree. */
export type DeltaEntry = [name: string, value: ConfigNode];

export interface Signature {
  /** Eight hex digits. */
  sig: string;
  /** Group choices in argv order, then values in key order; excluded names left out. */
  delta: DeltaEntry[];
  /** The command line without repeated keys. */
  argv: string[];
  /** The text that is hashed. */
  hashInput: string;
}

export interface SignatureOptions extends Omit<ComposeOptions, "configDir" | "overrides"> {
  /** Instead of the tree's own `dora.exclude`. */
  exclude?: string[];
  /** The keys of this config, merged underneath, are about how a run is executed and never enter the signature. */
  base?: string;
}

/** Fields that Dora accepts under `dora:`. */
const DORA_KEYS = [
  "dir",
  "exclude",
  "git_save",
  "shared",
  "grid_package",
  "history",
  "xps",
  "rendezvous_file",
  "use_rendezvous",
  "shep",
];

/**
 * The signature of a command line (`key=value` strings) over the tree in `configDir`.
 * Throws UserError for what cannot be composed, for a `???` left open, and for a change that removes keys.
 */
export function signature(argv: string[], configDir: string, options: SignatureOptions = {}): Signature {
  const kept = simplifyArgv(argv);
  const overrides = kept.map(parseOverride);
  const composeOptions = { ...options, configDir };
  const repository = openRepository(composeOptions, overrides);
  const groups = new Set(repository.groups());
  const compose = (args: string[]) =>
    composeFrom(repository, composeOptions, args.map(parseOverride)).root as MappingNode;

  const ownKeys = options.base === undefined ? [] : ownExecutionKeys(repository.load(options.base)?.config);
  const patterns = [
    ...(options.exclude ?? treeExclude(compose([]))),
    ...["dora.*", "slurm.*"],
    ...ownKeys.flatMap((key) => [key, `${key}.*`]),
  ];
  const config = compose(kept);
  const choices = kept.filter((arg) => groups.has(arg.slice(0, arg.indexOf("="))));
  const base = compose(choices);

  const entries: DeltaEntry[] = choices.map((arg) => {
    const equals = arg.indexOf("=");
    return [arg.slice(0, equals), new ValueNode(arg.slice(equals + 1))];
  });
  entries.push(...differences(base, config, []));
  const delta = entries.filter(([name]) => !patterns.some((pattern) => matchesPattern(name, pattern)));
  const hashInput = hashText(delta);
  return { sig: signatureOfText(hashInput), delta, argv: kept, hashInput };
}

/** The signature of a `train` command line over this project's tree, default solver included. */
export function trainSignature(argv: string[], options: TrainConfigOptions = {}): Signature {
  provideUserVariable();
  const { configDir = CONFIG_DIR, configName, searchPath } = options;
  const args = configName === undefined ? trainArgv(argv) : argv;
  return signature(args, configDir, { base: RUNTIME_BASE, configName, searchPath });
}

/** Of arguments with the same key only the last stays, in its place. Every argument must contain `=`. */
export function simplifyArgv(argv: string[]): string[] {
  const seen = new Set<string>();
  const kept: string[] = [];
  for (const arg of [...argv].reverse()) {
    const equals = arg.indexOf("=");
    if (equals < 0) throw new UserError(`'${arg}' is not key=value: the settings of a run must all be`);
    const identity = arg.slice(0, equals).trim();
    if (!seen.has(identity)) kept.push(arg);
    seen.add(identity);
  }
  return kept.reverse();
}

/** The text that is hashed for a delta: Python's JSON of its entries, sorted by name. */
export function hashText(delta: DeltaEntry[]): string {
  const sorted = [...delta].sort(([a], [b]) => compareCodePoints(a, b));
  return `[${sorted.map(([name, value]) => pythonJson(pair(name, value))).join(", ")}]`;
}

/** First eight hex digits of the SHA-1. */
export function signatureOfText(text: string): string {
  return crypto.createHash("sha1").update(text, "utf8").digest("hex").slice(0, 8);
}

/**
 * Dora's name of an experiment: `key=value` words, with all but the last part of a key cut to three letters. A NaN never
 * equals itself and is left out.
 */
export function experimentName(delta: DeltaEntry[]): string {
  return delta
    .filter(([, value]) => !(value instanceof ValueNode && Number.isNaN(value.value)))
    .map(([name, value]) => {
      const parts = name.split(".");
      const short = [...parts.slice(0, -1).map((part) => part.slice(0, 3)), parts[parts.length - 1]].join(
        ".",
      );
      return value instanceof ValueNode && value.value === true ? short : `${short}=${valueText(value)}`;
    })
    .join(" ");
}

/** Sections whose keys say what a run computes, ours included: changing one is another experiment. */
const COMPUTED_SECTIONS = ["optim", "transformer_lm"];

/** The keys of a config of ours that are about how a run is executed: all that it names outside of those sections. */
function ownExecutionKeys(config: ConfigNode | undefined, path = ""): string[] {
  if (!(config instanceof MappingNode)) return [path];
  return config.keys().flatMap((key) => {
    const name = path + keyText(key);
    if (COMPUTED_SECTIONS.includes(name)) return [];
    const value = config.get(key);
    return value instanceof MappingNode ? ownExecutionKeys(value, `${name}.`) : [name];
  });
}

function treeExclude(base: MappingNode): string[] {
  const dora = base.get("dora");
  if (dora === undefined) return [];
  const resolved = resolvedCopy(dora);
  if (!(resolved instanceof MappingNode)) throw new UserError("'dora' must be a mapping");
  for (const key of resolved.keys()) {
    if (!DORA_KEYS.includes(keyText(key)))
      throw new UserError(`'dora.${keyText(key)}' is not a setting of Dora`);
  }
  const exclude = resolved.get("exclude");
  if (exclude === undefined || (exclude instanceof ValueNode && exclude.value === null)) return [];
  if (!(exclude instanceof ListNode)) throw new UserError("'dora.exclude' must be a list of patterns");
  return exclude.items.map((item) => (item instanceof ValueNode ? pyStr(item.value) : ""));
}

function* differences(base: MappingNode, other: MappingNode, path: string[]): Generator<DeltaEntry> {
  for (const key of sortedKeys(base)) {
    const here = [...path, keyText(key)];
    const name = here.join(".");
    const before = requireNode(base.get(key)!);
    const child = other.get(key);
    if (child === undefined || (child instanceof ValueNode && child.isMissing)) {
      throw new UserError(`'${name}' is gone: a run may change values or add keys, but not remove them`);
    }
    const after = requireNode(child);
    if (before instanceof MappingNode) {
      if (!(after instanceof MappingNode)) throw new UserError(`'${name}' is a mapping and must stay one`);
      yield* differences(before, after, here);
    } else if (!sameValues(before, after)) yield [name, jsonable(after)];
  }
  for (const key of sortedKeys(other)) {
    if (!base.has(key)) yield [[...path, keyText(key)].join("."), jsonable(requireNode(other.get(key)!))];
  }
}

function sameValues(a: Value, b: Value): boolean {
  return sameNodes(resolvedCopy(nodeFor(a)), resolvedCopy(nodeFor(b)));
}

/** Containers enter unresolved, scalars by value. */
function jsonable(value: Value): ConfigNode {
  return cloneNode(nodeFor(value));
}

function nodeFor(value: Value): ConfigNode {
  if (isNode(value)) return value instanceof ValueNode ? new ValueNode(value.value) : value;
  return typeof value === "string" ? new ValueNode(value) : nodeOf(value);
}

function sortedKeys(node: MappingNode): Key[] {
  return node.keys().sort((a, b) => {
    if (typeof a === "string" && typeof b === "string") return compareCodePoints(a, b);
    return Number(a) - Number(b);
  });
}

function compareCodePoints(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function pair(name: string, value: ConfigNode): ListNode {
  const list = new ListNode();
  list.push(new ValueNode(name));
  list.push(cloneNode(value));
  return list;
}
