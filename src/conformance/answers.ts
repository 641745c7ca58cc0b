/**
 * Answers conformance cases (what Hydra, OmegaConf and Dora do) through the functions that the commands use. A case is a
 * line of JSON: `kind` compose, override, interp or dora_sig, with the arguments of the original call.
 */
import path from "node:path";
import { composeConfig } from "../config/compose.ts";
import { ComposedConfig, configFromYaml } from "../config/config.ts";
import { mergeInto, nodeOf, updateAt } from "../config/merge.ts";
import {
  type ConfigNode,
  type Container,
  cloneNode,
  isContainer,
  isNode,
  ListNode,
  MappingNode,
  ValueNode,
} from "../config/node.ts";
import { overrideValue, parseOverride } from "../config/override-grammar.ts";
import { Quoted, Sweep } from "../config/override-value.ts";
import { requireNode, resolvedCopy, resolveNode, select, type Value } from "../config/resolve.ts";
import { loadYaml, loadYamlValue } from "../config/yaml.ts";
import { type LaunchArgument, launchArgv } from "../xp/launch-argv.ts";
import { experimentName, signature } from "../xp/signature.ts";
import { withTestResolvers } from "./resolvers.ts";

// biome-ignore lint/suspicious/noExplicitAny: cases are JSON of many shapes
export type Case = Record<string, any>;

export interface Answer {
  id: string;
  expect?: unknown;
  expect_error?: string;
  int_floats?: string[];
}

/** The environment in which every case was answered; `CONF_UNSET` is not set. */
export const CASE_ENVIRONMENT = {
  CONF_USER: "ada",
  CONF_EMPTY: "",
  CONF_NUM: "42",
  CONF_FLOAT: "1.50",
  CONF_LIST: "[1, 2, x]",
  CONF_DICT: "{a: 1, b: [true, null]}",
  CONF_BOOL: "true",
  CONF_NULL: "null",
  CONF_INTERP: "${n.a}",
  CONF_DATASET: "cifar",
  CONF_SPACE: " x ",
  CONF_QUOTED: "'7'",
};

/** Answers one case, a line of JSON; `trees` is the folder that holds the config trees. */
export function answer(line: string, trees: string): Answer {
  const c: Case = JSON.parse(line);
  if (!Object.hasOwn(answers, c.kind))
    return { id: c.id, expect_error: `UserError: unknown kind '${c.kind}'` };
  try {
    // JSON.parse would lose the difference between 2 and 2.0; the launch arguments need it.
    if (c.launch) c.launch = launchArguments(line);
    const encoder = new Encoder();
    const ask = () => answers[c.kind as keyof typeof answers](c, encoder, trees);
    const expect = c.kind === "interp" ? withTestResolvers(ask) : ask();
    return { id: c.id, expect, int_floats: encoder.intFloats };
  } catch (error) {
    return { id: c.id, expect_error: `${(error as Error).name}: ${(error as Error).message.split("\n")[0]}` };
  }
}

const answers = {
  compose(c: Case, encoder: Encoder, trees: string): unknown {
    const config = composeConfig({
      configDir: path.join(trees, c.tree),
      configName: c.config_name,
      overrides: c.overrides,
      version: c.version_base,
    });
    let node: Value = config.root;
    for (const key of c.access ?? []) node = requireNode(childOf(node as Container, key));
    return encoder.output(node, c.resolve, c.throw_on_missing ?? false);
  },

  override(c: Case, encoder: Encoder): unknown {
    const override = parseOverride(c.input);
    const value = overrideValue(override);
    const kinds = {
      choice: "CHOICE_SWEEP",
      range: "RANGE_SWEEP",
      interval: "INTERVAL_SWEEP",
      glob: "GLOB_CHOICE_SWEEP",
    };
    let valueType: string | null = "ELEMENT";
    if (value instanceof Sweep) {
      valueType =
        value.of.kind === "choice" && value.of.simple ? "SIMPLE_CHOICE_SWEEP" : kinds[value.of.kind];
    } else if (!override.hasValue) valueType = null;
    return {
      key: override.key,
      package: override.package ?? null,
      type: override.type,
      value_type: valueType,
      value: encoder.encode(value as Value, ""),
      ...(override.parsed instanceof Quoted && {
        quote: override.parsed.quote === "'" ? "single" : "double",
      }),
    };
  },

  interp(c: Case, encoder: Encoder): unknown {
    return operations[c.op as keyof typeof operations](c, encoder);
  },

  dora_sig(c: Case, encoder: Encoder, trees: string): unknown {
    const configDir = path.join(trees, c.tree);
    const options = { configName: c.config_name, version: c.version_base, exclude: c.exclude };
    const argv = c.overrides ?? launchArgv(c.launch, configDir);
    const { sig, delta, argv: kept, hashInput } = signature(argv, configDir, options);
    return {
      argv: kept,
      delta: delta.map(([name, value], i) => [name, encoder.encode(value, `/delta/${i}/1`)]),
      hash_input: hashInput,
      sig,
      name: experimentName(delta),
    };
  },
};

const operations = {
  container: (c: Case, encoder: Encoder) => encoder.output(loadYaml(c.yaml), true, c.throw ?? false),

  merge(c: Case, encoder: Encoder) {
    const [first, ...others] = c.yamls.map((yaml: string) => loadYaml(yaml)) as Container[];
    const merged = cloneNode(first!);
    for (const other of others) mergeInto(merged, other);
    return encoder.output(merged, true, false);
  },

  select(c: Case, encoder: Encoder) {
    const value = select(loadYaml(c.yaml), c.key, { throwOnMissing: c.throw ?? false });
    return encoder.output(value === undefined ? (c.default ?? null) : value, true, false);
  },

  get(c: Case, encoder: Encoder) {
    let value: Value = loadYaml(c.yaml);
    for (const key of c.path) value = requireNode(childOf(value as Container, key));
    return encoder.output(value, true, false);
  },

  dotlist(c: Case, encoder: Encoder) {
    const root = new MappingNode();
    for (const arg of c.dotlist as string[]) {
      const equals = arg.indexOf("=");
      const key = equals < 0 ? arg : arg.slice(0, equals);
      updateAt(root, key, equals < 0 ? new ValueNode(null) : loadYamlValue(arg.slice(equals + 1)));
    }
    return encoder.output(root, c.resolve ?? false, false);
  },

  update(c: Case, encoder: Encoder) {
    const root = loadYaml(c.yaml);
    updateAt(root, c.key, nodeOf(fromJson(c.value)), { merge: c.merge ?? true });
    return encoder.output(root, false, false);
  },

  to_yaml(c: Case) {
    const config = configFromYaml(c.yaml);
    const root = c.sort_keys ? sortedByKey(config.root) : config.root;
    return new ComposedConfig(root as Container).toYaml({ resolve: c.resolve ?? false });
  },

  resolve(c: Case, encoder: Encoder) {
    return encoder.output(resolvedCopy(loadYaml(c.yaml), { keepMissing: true }), false, false);
  },

  missing_keys(c: Case) {
    const missing: string[] = [];
    const visit = (node: ConfigNode) => {
      if (node instanceof ValueNode && node.isMissing) missing.push(node.path);
      const value = resolveNode(node);
      if (isContainer(value)) for (const child of childrenOf(value)) visit(child);
    };
    visit(loadYaml(c.yaml));
    return missing.sort();
  },

  is_missing(c: Case) {
    const root = loadYaml(c.yaml) as MappingNode;
    return c.keys.map((key: string) => {
      const node = root.get(key);
      return node instanceof ValueNode && node.isMissing;
    });
  },

  cache_equal(c: Case, encoder: Encoder) {
    const root = loadYaml(c.yaml) as MappingNode;
    const read = (key: string) => JSON.stringify(encoder.output(resolveNode(root.get(key)!), true, false));
    const first = new Map<string, string>();
    const stable: Record<string, boolean> = {};
    const equal: Record<string, boolean> = {};
    for (const key of c.keys) {
      first.set(key, read(key));
      stable[key] = read(key) === first.get(key);
    }
    c.keys.forEach((a: string, i: number) => {
      for (const b of c.keys.slice(i + 1)) equal[`${a}=${b}`] = first.get(a) === first.get(b);
    });
    return { stable, equal };
  },
};

/** Writes values in the encoding of the cases, noting the floats that look like integers. */
class Encoder {
  readonly intFloats: string[] = [];

  output(value: Value, resolve: boolean, throwOnMissing: boolean): unknown {
    if (!isNode(value)) return this.encode(value, "");
    if (resolve) return this.encode(resolvedCopy(value, { throwOnMissing }), "");
    if (throwOnMissing && isContainer(value))
      new ComposedConfig(value).toYaml({ resolve: false, throwOnMissing: true });
    return this.encode(value, "");
  }

  encode(value: Value | Sweep, at: string): unknown {
    if (value instanceof Sweep) return this.sweep(value, at);
    if (value instanceof ValueNode) return this.encode(value.value, at);
    if (value instanceof ListNode) return value.items.map((item, i) => this.encode(item, `${at}/${i}`));
    if (Array.isArray(value)) return value.map((item, i) => this.encode(item, `${at}/${i}`));
    if (value instanceof MappingNode || value instanceof Map) {
      const entries = [...value.entries()] as [Value, Value][];
      if (!entries.every(([key]) => typeof key === "string")) {
        return {
          __dict__: entries.map(([key, item], i) => [
            this.encode(key, ""),
            this.encode(item, `${at}/__dict__/${i}/1`),
          ]),
        };
      }
      const object: Record<string, unknown> = {};
      for (const [key, item] of entries) {
        const pointer = (key as string).replaceAll("~", "~0").replaceAll("/", "~1");
        // defineProperty: a key called `__proto__` is data like any other.
        Object.defineProperty(object, key as string, {
          value: this.encode(item, `${at}/${pointer}`),
          enumerable: true,
        });
      }
      return object;
    }
    if (value instanceof Uint8Array) return { __bytes__: Buffer.from(value).toString("base64") };
    if (typeof value === "bigint") {
      return Number.isSafeInteger(Number(value)) ? Number(value) : { __int__: value.toString() };
    }
    if (typeof value === "number") {
      if (Number.isNaN(value)) return { __float__: "nan" };
      if (!Number.isFinite(value)) return { __float__: value > 0 ? "inf" : "-inf" };
      if (Number.isInteger(value)) this.intFloats.push(at);
    }
    return value;
  }

  sweep(sweep: Sweep, at: string): unknown {
    const of = sweep.of;
    const tags = [...sweep.tags].sort();
    switch (of.kind) {
      case "choice": {
        const list = of.list.map((item, i) =>
          this.encode(overrideValue({ parsed: item } as never) as Value, `${at}/list/${i}`),
        );
        return { __sweep__: "choice", list, simple_form: of.simple, shuffle: sweep.shuffle, tags };
      }
      case "range": {
        const [start, stop, step] = [of.start, of.stop, of.step].map((x, i) =>
          this.encode(x, `${at}/${["start", "stop", "step"][i]}`),
        );
        return { __sweep__: "range", start, stop, step, shuffle: sweep.shuffle, tags };
      }
      case "interval":
        return {
          __sweep__: "interval",
          start: this.encode(of.start, `${at}/start`),
          end: this.encode(of.end, `${at}/end`),
          tags,
        };
      case "glob":
        return { __sweep__: "glob", include: of.include, exclude: of.exclude };
    }
  }
}

function childOf(node: Container, key: string | number): ConfigNode {
  const child =
    node instanceof MappingNode
      ? node.get(typeof key === "number" ? BigInt(key) : key)
      : node.items.at(Number(key));
  if (!child) throw new Error(`no key ${key}`);
  return child;
}

function childrenOf(node: Container): ConfigNode[] {
  return node instanceof MappingNode ? node.entries().map(([, child]) => child) : node.items;
}

function sortedByKey(node: ConfigNode): ConfigNode {
  if (node instanceof ValueNode) return cloneNode(node);
  if (node instanceof ListNode) {
    const list = new ListNode();
    for (const item of node.items) list.push(sortedByKey(item));
    return list;
  }
  const mapping = new MappingNode();
  const entries = (node as MappingNode).entries().sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
  for (const [key, child] of entries) mapping.set(key, sortedByKey(child));
  return mapping;
}

/** JSON integers are integers of the config. */
function fromJson(value: unknown): unknown {
  if (typeof value === "number" && Number.isInteger(value)) return BigInt(value);
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value === "object" && value !== null)
    return new Map(Object.entries(value).map(([k, v]) => [k, fromJson(v)]));
  return value;
}

function launchArguments(line: string): LaunchArgument {
  const launch = (loadYamlValue(line) as MappingNode).get("launch") as ConfigNode;
  const plain = (node: ConfigNode): unknown => {
    if (node instanceof ValueNode) return node.value;
    if (node instanceof ListNode) return node.items.map(plain);
    return new Map((node as MappingNode).entries().map(([key, child]) => [key, plain(child)]));
  };
  return plain(launch) as LaunchArgument;
}
