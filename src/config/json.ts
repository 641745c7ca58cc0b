/** Python's `json.dumps`: signatures hash its exact text. */
import { type ConfigNode, type Key, keyText, ListNode, type MappingNode, ValueNode } from "./node.ts";
import { floatRepr, type Scalar } from "./scalar.ts";

/** JSON of a static tree: separators `", "` and `": "`, non-ASCII escaped, floats by `repr`. With `indent`, on lines. */
export function pythonJson(node: ConfigNode, indent?: number): string {
  return write(node, indent, 0);
}

/** A string as `json.dumps` writes it. */
export function jsonString(text: string): string {
  // JSON.stringify and Python escape ASCII alike; beyond it Python writes UTF-16 units.
  return JSON.stringify(text).replace(/[\x7f-\uffff]/g, (c) =>
    c === "\x7f" ? c : `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A scalar as `json.dumps` writes it. */
export function jsonScalar(value: Scalar): string {
  if (value === null) return "null";
  if (typeof value === "string") return jsonString(value);
  if (typeof value === "number") {
    if (Number.isNaN(value)) return "NaN";
    if (!Number.isFinite(value)) return value > 0 ? "Infinity" : "-Infinity";
    return floatRepr(value);
  }
  if (value instanceof Uint8Array) return jsonString(Buffer.from(value).toString("base64"));
  return String(value);
}

function write(node: ConfigNode, indent: number | undefined, level: number): string {
  if (node instanceof ValueNode) return jsonScalar(node.value);
  if (node instanceof ListNode) {
    return bracket(
      "[",
      "]",
      node.items.map((item) => write(item, indent, level + 1)),
      indent,
      level,
    );
  }
  const entries = (node as MappingNode)
    .entries()
    .map(([key, child]) => `${jsonString(jsonKey(key))}: ${write(child, indent, level + 1)}`);
  return bracket("{", "}", entries, indent, level);
}

function bracket(
  open: string,
  close: string,
  items: string[],
  indent: number | undefined,
  level: number,
): string {
  if (items.length === 0) return open + close;
  if (indent === undefined) return open + items.join(", ") + close;
  const inner = " ".repeat(indent * (level + 1));
  return `${open}\n${items.map((item) => inner + item).join(",\n")}\n${" ".repeat(indent * level)}${close}`;
}

function jsonKey(key: Key): string {
  return typeof key === "boolean" ? String(key) : keyText(key);
}
