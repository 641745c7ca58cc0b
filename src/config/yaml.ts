/** Reads YAML text into a config tree under OmegaConf's rules, keeping the position of every value. */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type ParsedNode,
  parseDocument,
  visit,
  type YAMLMap,
  Scalar as YamlScalar,
} from "yaml";
import { UserError } from "../errors.ts";
import { assertInterpolationSyntax } from "./interpolation-grammar.ts";
import {
  type ConfigNode,
  type Container,
  cloneNode,
  type Key,
  ListNode,
  MappingNode,
  type Source,
  ValueNode,
} from "./node.ts";
import { plainScalar, scalarOfTag } from "./yaml-scalar.ts";

/** Larger files are refused: no config is this big, and a mistaken path (a log, a manifest) should say so at once. */
const MAX_BYTES = 2_000_000;
/** Limit on values after expanding aliases, against "billion laughs" files. */
const MAX_VALUES = 200_000;
/** Every walk over a tree is a recursion. */
const MAX_DEPTH = 500;
const CORE_TAG = "tag:yaml.org,2002:";

/**
 * A YAML document -> mapping or list. An empty or null document is an empty mapping, a lone word `abc` is `{abc: null}`.
 * Errors (syntax, duplicate keys, unknown tags, other scalars at the top) are UserErrors with `file:line:column`.
 */
export function loadYaml(text: string, file = "<config>"): Container {
  const value = loadYamlValue(text, file);
  if (!(value instanceof ValueNode)) return value;
  const mapping = new MappingNode();
  if (typeof value.value === "string") mapping.set(value.value, new ValueNode(null, value.source));
  else if (value.value !== null) throw new UserError(`${file}: a config must be a mapping or a list`);
  return mapping;
}

/** Like {@link loadYaml}, for a text that may also be a single scalar (`key=value` lists use it for the value). */
export function loadYamlValue(text: string, file = "<config>"): ConfigNode {
  if (text.length > MAX_BYTES) {
    throw new UserError(
      `${file}: ${text.length} characters of YAML; a config file may have at most ${MAX_BYTES}`,
    );
  }
  const lines = new LineCounter();
  const document = parseDocument(text, {
    schema: "failsafe",
    version: "1.1",
    uniqueKeys: false,
    lineCounter: lines,
  });
  // PyYAML lets a comment follow a closing quote or bracket at once.
  const error = document.errors.find(({ message }) => !message.startsWith("Comments must be separated"));
  if (error) {
    const { line, col } = lines.linePos(error.pos[0]);
    const problem = error.message.split("\n")[0]!.replace(/ at line .*$/, "");
    const isDeep = problem.startsWith("Maximum call stack");
    throw new UserError(`${file}:${line}:${col}: ${isDeep ? "nested too deeply" : problem}`);
  }
  const contents = document.contents as ParsedNode | null;
  if (text.includes("\t")) refuseTabs(text, contents, file, lines);
  return new Builder(file, lines).build(contents, false);
}

class Builder {
  readonly file: string;
  readonly lines: LineCounter;
  readonly anchors = new Map<string, ConfigNode | null>();
  values = 0;
  depth = 0;

  constructor(file: string, lines: LineCounter) {
    this.file = file;
    this.lines = lines;
  }

  build(node: ParsedNode | null, inFlow: boolean): ConfigNode {
    if (++this.values > MAX_VALUES) throw new UserError(`${this.file}: too many values (aliases expanded)`);
    if (++this.depth > MAX_DEPTH) throw this.error("nested too deeply", node);
    const built = this.buildInside(node, inFlow);
    this.depth--;
    return built;
  }

  buildInside(node: ParsedNode | null, inFlow: boolean): ConfigNode {
    if (node === null) return new ValueNode(null);
    if (isAlias(node)) return this.alias(node.source, node);
    // An anchor is known while its own content is read, so that a self-reference is told from an unknown name.
    if (node.anchor) this.anchors.set(node.anchor, null);
    let built: ConfigNode;
    if (isMap(node)) built = this.mapping(node as YAMLMap.Parsed, inFlow);
    else if (isSeq(node)) {
      this.collectionTag(node, "seq");
      built = new ListNode();
      for (const item of node.items) built.push(this.build(item as ParsedNode, inFlow || node.flow === true));
    } else if (isScalar(node)) built = this.scalar(node as YamlScalar.Parsed, inFlow);
    else throw this.error("unsupported YAML construct", node);
    built.source = this.source(node);
    if (node.anchor) this.anchors.set(node.anchor, built);
    return built;
  }

  mapping(node: YAMLMap.Parsed, inFlow: boolean): MappingNode {
    this.collectionTag(node, "map");
    const flow = inFlow || node.flow === true;
    const own: [Key, ConfigNode][] = [];
    const inherited: [Key, ConfigNode][] = [];
    const seen = new Set<string>();
    for (const pair of node.items) {
      const keyNode = pair.key as ParsedNode | null;
      if (isScalar(keyNode) && keyNode.type === YamlScalar.PLAIN && !keyNode.tag && keyNode.source === "<<") {
        inherited.unshift(...this.merged(pair.value as ParsedNode | null, flow));
        continue;
      }
      const key = this.key(keyNode, flow);
      if (typeof key === "string") {
        if (seen.has(key)) throw this.error(`duplicate key '${key}'`, keyNode);
        seen.add(key);
      }
      const value = this.build(pair.value as ParsedNode | null, flow);
      value.source ??= this.source(keyNode);
      own.push([key, value]);
    }
    const mapping = new MappingNode();
    for (const [key, value] of [...inherited, ...own]) mapping.set(key, value);
    return mapping;
  }

  /** The pairs that `<<` brings in; of several mappings the earlier ones win, so they come last. */
  merged(node: ParsedNode | null, flow: boolean): [Key, ConfigNode][] {
    const value = this.build(node, flow);
    const sources = value instanceof ListNode ? [...value.items].reverse() : [value];
    return sources.flatMap((source) => {
      if (!(source instanceof MappingNode))
        throw this.error("'<<' needs a mapping or a list of mappings", node);
      return source.entries().map(([key, child]): [Key, ConfigNode] => [key, cloneNode(child)]);
    });
  }

  key(node: ParsedNode | null, flow: boolean): Key {
    // As a key, "=" is text.
    if (isScalar(node) && node.type === YamlScalar.PLAIN && !node.tag && node.source === "=") return "=";
    const built = this.build(node, flow);
    if (!(built instanceof ValueNode)) throw this.error("a mapping key must be a scalar", node);
    if (built.value === null || built.value instanceof Uint8Array) {
      throw this.error("a mapping key must be a string, number or boolean", node);
    }
    return built.value;
  }

  scalar(node: YamlScalar.Parsed, inFlow: boolean): ValueNode {
    const text = String(node.value ?? "");
    try {
      const value = this.scalarValue(node, text, inFlow);
      if (typeof value === "string") assertInterpolationSyntax(value);
      return new ValueNode(value);
    } catch (error) {
      if (error instanceof UserError) throw this.error(error.message, node);
      throw error;
    }
  }

  scalarValue(node: YamlScalar.Parsed, text: string, inFlow: boolean) {
    if (node.tag?.startsWith(CORE_TAG)) return scalarOfTag(node.tag.slice(CORE_TAG.length), text);
    if (node.tag && node.tag !== "!") throw new UserError(`unknown YAML tag '${node.tag}'`);
    if (node.type !== YamlScalar.PLAIN || node.tag === "!") return text;
    if (inFlow && text.startsWith("?")) throw new UserError(`quote '${text}' inside [...] or {...}`);
    return plainScalar(text);
  }

  collectionTag(node: ParsedNode, expected: "map" | "seq"): void {
    if (node.tag && node.tag !== CORE_TAG + expected && node.tag !== "!") {
      throw this.error(`unknown YAML tag '${node.tag}'`, node);
    }
  }

  alias(name: string, node: ParsedNode): ConfigNode {
    const target = this.anchors.get(name);
    if (target === undefined) throw this.error(`unknown alias '*${name}'`, node);
    if (target === null) throw this.error(`alias '*${name}' contains itself`, node);
    const copy = cloneNode(target);
    this.values += countValues(copy);
    if (this.values > MAX_VALUES) throw this.error("too many values after expanding aliases", node);
    return copy;
  }

  source(node: ParsedNode | null): Source {
    if (!node?.range) return { file: this.file };
    const { line, col } = this.lines.linePos(node.range[0]);
    return { file: this.file, line, column: col };
  }

  error(message: string, node: ParsedNode | null): UserError {
    const { line, column } = this.source(node);
    return new UserError(`${this.file}:${line ?? 1}:${column ?? 1}: ${message}`);
  }
}

/** In YAML 1.1 as PyYAML reads it a tab may stand in quotes, block texts and comments, but not between tokens. */
function refuseTabs(text: string, contents: ParsedNode | null, file: string, lines: LineCounter): void {
  const protectedRanges: [number, number][] = [];
  visit(contents, {
    Scalar(_, node) {
      if (node.type !== YamlScalar.PLAIN && node.range) protectedRanges.push([node.range[0], node.range[1]]);
    },
  });
  const isProtected = (at: number) => protectedRanges.some(([start, end]) => at >= start && at < end);
  for (let at = text.indexOf("\t"); at >= 0; at = text.indexOf("\t", at + 1)) {
    const lineStart = text.lastIndexOf("\n", at) + 1;
    const comment = /(?:^|\s)#/.exec(text.slice(lineStart, at));
    if (isProtected(at) || (comment && !isProtected(lineStart + comment.index + comment[0].length - 1)))
      continue;
    const { line, col } = lines.linePos(at);
    throw new UserError(`${file}:${line}:${col}: a tab cannot separate or indent values; use blanks`);
  }
}

function countValues(node: ConfigNode): number {
  if (node instanceof ValueNode) return 1;
  const items = node instanceof MappingNode ? node.entries().map(([, child]) => child) : node.items;
  return items.reduce((sum, child) => sum + countValues(child), 1);
}
