/** YAML output in the form of OmegaConf.to_yaml (PyYAML's block style, lines folded at 80 columns). */
import { type ConfigNode, type Key, ListNode, MappingNode, ValueNode } from "./node.ts";
import { floatRepr, type Scalar } from "./scalar.ts";
import { readsAsOtherType } from "./yaml-scalar.ts";

const LINE_WIDTH = 80;

/** The tree as YAML text; interpolations are written as they are. */
export function dumpYaml(node: ConfigNode): string {
  if (node instanceof ValueNode) return `${scalarText(node.value, 0, 0)}\n`;
  if (isEmpty(node)) return node instanceof ListNode ? "[]\n" : "{}\n";
  return `${block(node, 0).join("\n")}\n`;
}

function block(node: ConfigNode, indent: number): string[] {
  const pad = " ".repeat(indent);
  const lines: string[] = [];
  if (node instanceof ListNode) {
    for (const item of node.items) {
      if (item instanceof ValueNode) lines.push(`${pad}- ${scalarText(item.value, indent + 2, indent + 2)}`);
      else if (isEmpty(item)) lines.push(`${pad}- ${emptyText(item)}`);
      else {
        // The first line of a nested block stands behind the dash.
        const nested = block(item, indent + 2);
        lines.push(`${pad}- ${nested[0]!.slice(indent + 2)}`, ...nested.slice(1));
      }
    }
    return lines;
  }
  for (const [key, child] of (node as MappingNode).entries()) {
    const head = `${pad}${keyScalar(key)}:`;
    if (child instanceof ValueNode)
      lines.push(`${head} ${scalarText(child.value, head.length + 1, indent + 2)}`);
    else if (isEmpty(child)) lines.push(`${head} ${emptyText(child)}`);
    // PyYAML does not indent a list below its key.
    else lines.push(head, ...block(child, child instanceof ListNode ? indent : indent + 2));
  }
  return lines;
}

function isEmpty(node: ConfigNode): boolean {
  return node instanceof ListNode ? node.items.length === 0 : node instanceof MappingNode && node.size === 0;
}

function emptyText(node: ConfigNode): string {
  return node instanceof ListNode ? "[]" : "{}";
}

function keyScalar(key: Key): string {
  return scalarText(key, Number.NEGATIVE_INFINITY, 0);
}

/** `column`: where the text begins; `indent`: of the lines it may be folded into. */
function scalarText(value: Scalar, column: number, indent: number): string {
  if (value === null) return "null";
  if (typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (typeof value === "number") return floatText(value);
  if (value instanceof Uint8Array) return `!!binary "${Buffer.from(value).toString("base64")}"`;
  if (needsDoubleQuotes(value)) return doubleQuoted(value);
  if (value === "" || readsAsOtherType(value) || value.includes("\n") || !isPlain(value)) {
    return fold(`'${value.replaceAll("'", "''")}'`, column, indent, true);
  }
  return fold(value, column, indent, false);
}

function floatText(value: number): string {
  if (Number.isNaN(value)) return ".nan";
  if (!Number.isFinite(value)) return value > 0 ? ".inf" : "-.inf";
  const text = floatRepr(value);
  return text.includes("e") && !text.includes(".") ? text.replace("e", ".0e") : text;
}

/** Can the text stand without quotes in block context? */
function isPlain(text: string): boolean {
  if (/^[-?:](?:\s|$)/.test(text) || /^[,[\]{}#&*!|>'"%@`]/.test(text)) return false;
  if (/^(?:---|\.\.\.)/.test(text) || /^\s|\s$/.test(text)) return false;
  return !/: |:$| #/.test(text);
}

function needsDoubleQuotes(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return /[\x00-\x08\x0b-\x1f\x7f\x80-\x84\x86-\x9f\ufeff\ud800-\udfff]/u.test(text) || /\t/.test(text);
}

function doubleQuoted(text: string): string {
  const escapes: Record<string, string> = {
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "\0": "\\0",
    "\x1b": "\\e",
  };
  let out = "";
  for (const c of text) {
    const code = c.codePointAt(0)!;
    if (escapes[c]) out += escapes[c];
    else if (code < 0x20 || (code >= 0x7f && code < 0xa0))
      out += `\\x${code.toString(16).toUpperCase().padStart(2, "0")}`;
    else if (code === 0xfeff) out += "\\uFEFF";
    else out += c;
  }
  return `"${out}"`;
}

/** Breaks a long text at single blanks; a line break inside quotes is an empty line more. */
function fold(text: string, column: number, indent: number, quoted: boolean): string {
  const lines: string[] = [];
  let line = "";
  let width = column;
  const pad = " ".repeat(Math.max(indent, 0));
  const words = text.split(/( +|\n+)/);
  for (const [i, word] of words.entries()) {
    if (word.startsWith("\n")) {
      lines.push(line, ...Array.from({ length: word.length }, () => ""));
      line = pad;
      width = pad.length;
    } else if (
      word === " " &&
      width > LINE_WIDTH &&
      i > 0 &&
      i < words.length - 1 &&
      !(quoted && i === 1 && words[0] === "'")
    ) {
      lines.push(line);
      line = pad;
      width = pad.length;
    } else {
      line += word;
      width += word.length;
    }
  }
  lines.push(line);
  return lines.map((l, i) => (i < lines.length - 1 && l.trim() === "" && i > 0 ? "" : l)).join("\n");
}
