/**
 * OmegaConf's interpolation grammar: `${a.b}`, `${.sibling}`, `${list[0]}`, `${resolver:arg,[x],{k:v}}`, nested to any
 * depth, inside text. Text is parsed to a small tree; `resolve.ts` gives it a value.
 */
import { UserError } from "../errors.ts";
import { type Scalar, typedWord } from "./scalar.ts";

/** Text and interpolations in the order they are written. */
export type Text = (string | Interpolation)[];

export type Interpolation =
  /** `up`: number of leading dots (0: from the root, 1: the container the text stands in, 2: one above, …). */
  | { kind: "reference"; up: number; path: PathPart[] }
  | { kind: "call"; name: (string | Interpolation)[]; args: Argument[] };

/** One key of a reference; `bracket`: written `[key]`, not `.key`. */
export interface PathPart {
  key: string | Interpolation;
  bracket: boolean;
}

export type Argument =
  | { kind: "scalar"; value: Scalar }
  /** `quoted`: always a string, even when it is a single interpolation. */
  | { kind: "text"; text: Text; quoted: boolean }
  | { kind: "list"; items: Argument[] }
  | { kind: "mapping"; entries: [Scalar, Argument][] };

const ID = /^[A-Za-z_][A-Za-z0-9_-]*$/;
const KEY_CHARACTER = /[^\\{}()[\]:. \t'"]/;
const WORD_CHARACTER = /[A-Za-z0-9_/\-\\+.$%*@?|]/;
const MAX_DEPTH = 100;

/** Parses a config value that holds `${`. Throws UserError with what is wrong. */
export function parseText(text: string): Text {
  const cached = cache.get(text);
  if (cached) return cached;
  const parser = new Parser(text);
  const parsed = parser.text(null);
  if (cache.size > 5000) cache.clear();
  cache.set(text, parsed);
  return parsed;
}

/** Parses one resolver argument that stands alone: the grammar of `oc.decode`. */
export function parseArgument(text: string): Argument {
  const parser = new Parser(text);
  if (text === "") throw parser.error("an empty text has no value");
  const argument = parser.argument("", 0);
  if (!parser.atEnd) throw parser.error(`unexpected '${parser.peek}'`);
  return argument;
}

/** Throws UserError when a value's interpolations are malformed: found when a file is read, not when a value is used. */
export function assertInterpolationSyntax(value: string): void {
  if (value.includes("${")) parseText(value);
}

const cache = new Map<string, Text>();

class Parser {
  readonly input: string;
  position = 0;

  constructor(input: string) {
    this.input = input;
  }

  get peek(): string {
    return this.input[this.position] ?? "";
  }

  get atEnd(): boolean {
    return this.position >= this.input.length;
  }

  error(message: string): UserError {
    const where = this.position > 0 ? ` at character ${this.position + 1}` : "";
    return new UserError(`malformed interpolation in '${this.input}'${where}: ${message}`);
  }

  /** Free text up to the closing `quote` (which is consumed), or to the end of the input. */
  text(quote: string | null, depth = 0): Text {
    const parts: Text = [];
    let literal = "";
    const flush = () => {
      if (literal !== "") parts.push(literal);
      literal = "";
    };
    for (;;) {
      const run = this.backslashes();
      if (this.startsWith("${")) {
        // 2n backslashes are n backslashes and an interpolation; one more makes the interpolation plain text.
        literal += "\\".repeat(run >> 1);
        if (run % 2 === 1) {
          literal += "${";
          this.position += 2;
        } else {
          flush();
          parts.push(this.interpolation(depth + 1));
        }
        continue;
      }
      if (quote !== null && this.peek === quote) {
        literal += "\\".repeat(run >> 1);
        this.position++;
        if (run % 2 === 1) {
          literal += quote;
          continue;
        }
        break;
      }
      literal += "\\".repeat(run);
      if (this.atEnd) {
        if (quote !== null) throw this.error(`missing closing ${quote}`);
        break;
      }
      literal += this.input[this.position++];
    }
    flush();
    return parts;
  }

  interpolation(depth: number): Interpolation {
    if (depth > MAX_DEPTH) throw this.error("nested too deeply");
    this.position += 2;
    this.blanks();
    let up = 0;
    while (this.peek === ".") {
      up++;
      this.position++;
    }
    const path: PathPart[] = [];
    for (;;) {
      if (this.peek === "[") {
        this.position++;
        path.push({ key: this.key(depth), bracket: true });
        if (!this.startsWith("]")) throw this.error("expected ']'");
        this.position++;
      } else if (path.length === 0 || this.peek === ".") {
        if (path.length > 0) this.position++;
        path.push({ key: this.key(depth), bracket: false });
      } else break;
    }
    this.blanks();
    if (this.peek === ":" && up === 0 && !path.some((part) => part.bracket)) {
      const name = path.map((part) => part.key);
      if (!name.every((part) => typeof part !== "string" || ID.test(part))) {
        throw this.error("a resolver's name is made of letters, digits, '_', '-' and dots");
      }
      this.position++;
      return { kind: "call", name, args: this.args(depth) };
    }
    if (this.peek !== "}") throw this.error(this.atEnd ? "missing '}'" : `unexpected '${this.peek}'`);
    this.position++;
    return { kind: "reference", up, path };
  }

  key(depth: number): string | Interpolation {
    if (this.startsWith("${")) return this.interpolation(depth + 1);
    let key = "";
    while (!this.atEnd && KEY_CHARACTER.test(this.peek)) key += this.input[this.position++];
    if (key === "") throw this.error("expected a key");
    return key;
  }

  args(depth: number): Argument[] {
    const args = this.sequence("}", depth);
    this.position++;
    return args;
  }

  /** Arguments up to the character `close`; an empty place between commas is an empty string. */
  sequence(close: string, depth: number): Argument[] {
    const items: Argument[] = [];
    this.blanks();
    if (this.peek === close) return items;
    for (;;) {
      this.blanks();
      if (this.peek === "," || this.peek === close) items.push({ kind: "text", text: [], quoted: true });
      else items.push(this.argument(close, depth));
      this.blanks();
      if (this.peek === close && !this.atEnd) return items;
      if (this.peek !== ",")
        throw this.error(this.atEnd ? `missing '${close}'` : `unexpected '${this.peek}'`);
      this.position++;
    }
  }

  argument(close: string, depth: number): Argument {
    if (depth > MAX_DEPTH) throw this.error("nested too deeply");
    const first = this.peek;
    if (first === "'" || first === '"') {
      this.position++;
      return { kind: "text", text: this.text(first, depth), quoted: true };
    }
    if (first === "[") {
      this.position++;
      const items = this.sequence("]", depth + 1);
      this.position++;
      return { kind: "list", items };
    }
    if (first === "{") return this.mapping(depth + 1);
    return this.word(close, depth);
  }

  mapping(depth: number): Argument {
    const entries: [Scalar, Argument][] = [];
    this.position++;
    this.blanks();
    if (this.peek === "}") {
      this.position++;
      return { kind: "mapping", entries };
    }
    for (;;) {
      this.blanks();
      const key = this.mappingKey();
      this.position++;
      this.blanks();
      if (this.peek === "," || this.peek === "}") throw this.error("expected a value");
      entries.push([key, this.argument("}", depth)]);
      this.blanks();
      const next = this.peek;
      this.position++;
      if (next === "}") return { kind: "mapping", entries };
      if (next !== ",") throw this.error("expected ',' or '}'");
    }
  }

  mappingKey(): Scalar {
    const raw = this.rawWord((c) => c === ":");
    if (this.peek !== ":" || raw.text === "") throw this.error("expected 'key: value'");
    return raw.escaped ? raw.text : typedWord(raw.text);
  }

  /** An unquoted argument: typed when it is one word, text when it holds interpolations or escapes. */
  word(close: string, depth: number): Argument {
    const parts: Text = [];
    let escaped = false;
    for (;;) {
      const raw = this.rawWord((c) => c === "," || c === close || c === "]" || c === "}");
      escaped ||= raw.escaped;
      const interpolated = this.startsWith("${");
      if (raw.text !== "") parts.push(interpolated ? raw.untrimmed : raw.text);
      if (!interpolated) break;
      parts.push(this.interpolation(depth + 1));
      // Blanks after an interpolation belong to the text only if more text follows.
    }
    if (parts.length === 0) throw this.error(this.atEnd ? "expected a value" : `unexpected '${this.peek}'`);
    const only = parts[0];
    if (parts.length === 1 && typeof only === "string") {
      return { kind: "scalar", value: escaped ? only : typedWord(only) };
    }
    return { kind: "text", text: parts, quoted: false };
  }

  /** Word characters, blanks and escapes up to a stop character, `${`, or a character that must be quoted (an error). */
  rawWord(stops: (c: string) => boolean): { text: string; untrimmed: string; escaped: boolean } {
    let text = "";
    let kept = 0;
    let escaped = false;
    while (!this.atEnd && !stops(this.peek) && !this.startsWith("${")) {
      const c = this.peek;
      if (c === "\\" && "\\()[]{}:=, \t".includes(this.input[this.position + 1] ?? "x")) {
        text += this.input[this.position + 1];
        this.position += 2;
        escaped = true;
        kept = text.length;
      } else if (c === " " || c === "\t") {
        text += c;
        this.position++;
      } else if (c === ":" || WORD_CHARACTER.test(c)) {
        text += c;
        this.position++;
        kept = text.length;
      } else throw this.error(`'${c}' must be quoted here`);
    }
    return { text: text.slice(0, kept), untrimmed: text, escaped };
  }

  backslashes(): number {
    const start = this.position;
    while (this.peek === "\\") this.position++;
    return this.position - start;
  }

  blanks(): void {
    while (this.peek === " " || this.peek === "\t") this.position++;
  }

  startsWith(text: string): boolean {
    return this.input.startsWith(text, this.position);
  }
}
