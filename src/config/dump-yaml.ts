/** YAML output in the form of OmegaConf.to_yaml (PyYAML's block style, lines folded at 80 columns). */
import { type ConfigNode, type Key, ListNode, MappingNode, ValueNode } from "./node.ts";
import { floatRepr, type Scalar } from "./scalar.ts";
import { readsAsOtherType } from "./yaml-scalar.ts";

const LINE_WIDTH = 80;
/** Longer keys, and keys of several lines, are written `? key`. */
const MAX_SIMPLE_KEY = 128;

/** The tree as YAML text; interpolations are written as they are. */
export function dumpYaml(node: ConfigNode): string {
  if (node instanceof ValueNode) return `${scalarText(node.value, 0, 2)}\n`;
  if (isEmpty(node)) return `${emptyText(node)}\n`;
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
    const simple = isSimpleKey(key);
    if (!simple) lines.push(`${pad}? ${scalarText(key, indent + 2, indent + 2)}`);
    const head = simple ? `${pad}${scalarText(key, Number.NEGATIVE_INFINITY, 0)}:` : `${pad}:`;
    if (child instanceof ValueNode)
      lines.push(`${head} ${scalarText(child.value, head.length + 1, indent + 2)}`);
    else if (isEmpty(child)) lines.push(`${head} ${emptyText(child)}`);
    // PyYAML does not indent a list below its key.
    else if (simple) lines.push(head, ...block(child, child instanceof ListNode ? indent : indent + 2));
    else {
      const nested = block(child, indent + 2);
      lines.push(`${head} ${nested[0]!.slice(indent + 2)}`, ...nested.slice(1));
    }
  }
  return lines;
}

function isEmpty(node: ConfigNode): boolean {
  return node instanceof ListNode ? node.items.length === 0 : node instanceof MappingNode && node.size === 0;
}

function emptyText(node: ConfigNode): string {
  return node instanceof ListNode ? "[]" : "{}";
}

function isSimpleKey(key: Key): boolean {
  return typeof key !== "string" || (!key.includes("\n") && [...key].length < MAX_SIMPLE_KEY);
}

/** `column`: where the text begins; `indent`: of the lines it may be folded into. */
function scalarText(value: Scalar, column: number, indent: number): string {
  if (value === null) return "null";
  if (typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (typeof value === "number") return floatText(value);
  if (value instanceof Uint8Array) return `!!binary "${Buffer.from(value).toString("base64")}"`;
  if (needsDoubleQuotes(value)) return doubleQuoted(value, column, indent);
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
  if (/^[-?:](?: |$)/.test(text) || /^[,[\]{}#&*!|>'"%@`]/.test(text)) return false;
  if (/^(?:---|\.\.\.)/.test(text) || /^ | $/.test(text)) return false;
  return !/: |:$| #/.test(text);
}

/** Characters that only escapes can show, and line breaks next to blanks (which folding would lose). */
function needsDoubleQuotes(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return /[\x00-\x09\x0b-\x1f\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff]| \n|\n /u.test(text);
}

/** Breaks are marked by a backslash at the end of the line. */
function doubleQuoted(text: string, column: number, indent: number): string {
  const characters = [...text];
  let out = '"';
  let width = column + 1;
  let run = "";
  for (const [i, character] of characters.entries()) {
    const shown = escaped(character);
    const isLast = i === characters.length - 1;
    if (shown !== character) {
      width += run.length + shown.length;
      out += run + shown;
      run = "";
    } else run += character;
    const mayBreak = i > 0 && !isLast && (character === " " || run === "");
    if (mayBreak && width + run.length - (character === " " ? 1 : 0) > LINE_WIDTH) {
      const kept = character === " " ? run.slice(0, -1) : run;
      out += `${kept}\\\n${" ".repeat(Math.max(indent, 0))}`;
      width = Math.max(indent, 0);
      run = "";
      if (character === " ") {
        out += "\\";
        width++;
        run = " ";
      } else if (characters[i + 1] === " ") {
        out += "\\";
        width++;
      }
    }
  }
  return `${out + run}"`;
}

const ESCAPES: Record<string, string> = {
  '"': '\\"',
  "\\": "\\\\",
  "\0": "\\0",
  "\x07": "\\a",
  "\b": "\\b",
  "\t": "\\t",
  "\n": "\\n",
  "\v": "\\v",
  "\f": "\\f",
  "\r": "\\r",
  "\x1b": "\\e",
  "\x85": "\\N",
  "\u2028": "\\L",
  "\u2029": "\\P",
};

function escaped(character: string): string {
  const code = character.codePointAt(0)!;
  const hex = code.toString(16).toUpperCase();
  if (ESCAPES[character]) return ESCAPES[character];
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return `\\x${hex.padStart(2, "0")}`;
  if ((code >= 0xd800 && code < 0xe000) || code === 0xfeff) return `\\u${hex.padStart(4, "0")}`;
  if (code > 0xfffd) return `\\U${hex.padStart(8, "0")}`;
  return character;
}

/** Breaks a long text at single blanks; a line break inside quotes is an empty line more. */
function fold(text: string, column: number, indent: number, quoted: boolean): string {
  const pad = " ".repeat(Math.max(indent, 0));
  const words = text.split(/( +|\n+)/);
  let out = "";
  let width = column;
  for (const [i, word] of words.entries()) {
    const isInside =
      i > 0 && i < words.length - 1 && !(quoted && (words[i - 1] === "'" || words[i + 1] === "'"));
    if (word.startsWith("\n")) {
      out += `\n${word}${pad}`;
      width = pad.length;
    } else if (word === " " && isInside && width > LINE_WIDTH) {
      out += `\n${pad}`;
      width = pad.length;
    } else {
      out += word;
      width += word.length;
    }
  }
  return out;
}
