/** Hydra's command-line override grammar: `key=value`, `+key=`, `++key=`, `~key`, and the language of values. */
import { UserError } from "../errors.ts";
import { callFunction } from "./override-functions.ts";
import { type Parsed, plainValue, Quoted, Sweep } from "./override-value.ts";
import { type Scalar, setKey, typedWord } from "./scalar.ts";

export type OverrideType = "CHANGE" | "ADD" | "FORCE_ADD" | "DEL";

/** One parsed override. */
export interface Override {
  /** The text as given. */
  input: string;
  type: OverrideType;
  /** A dotted key, or a group path with slashes. */
  key: string;
  /** After `@`: undefined without one, "" for `key@=`. */
  package: string | undefined;
  /** As written: quotes are known, sweeps are sweeps. `null` for `~key` without a value. */
  parsed: Parsed;
  /** Did a value follow the key (`~key` alone has none)? */
  hasValue: boolean;
}

/** The value without quotes: scalar, array or Map (of the same), or a {@link Sweep}. */
export function overrideValue(override: Override): unknown {
  return plainValue(override.parsed);
}

/** `group@package`, as the defaults list names it. */
export function overrideTarget(override: Override): string {
  return override.package === undefined ? override.key : `${override.key}@${override.package}`;
}

/** Parses one override. Throws UserError that shows where the text stops making sense. */
export function parseOverride(input: string): Override {
  return new OverrideParser(input).override();
}

const ID = /[A-Za-z_][A-Za-z0-9_-]*/y;
const GROUP = /[A-Za-z_][A-Za-z0-9_-]*(?:\/[A-Za-z_][A-Za-z0-9_-]*)+/y;
const DOT_PART = "(?:[A-Za-z_$][A-Za-z0-9_$-]*|0|[1-9](?:_?[0-9])*)";
const DOT_PATH = new RegExp(`${DOT_PART}(?:\\.${DOT_PART})+`, "y");
const SPECIAL_KEY = /[A-Za-z_$][A-Za-z0-9_$-]*/y;
const WORD_CHARACTER = /[A-Za-z0-9_/\-\\+.$%*@?|]/;
const INTERPOLATION = /\$\{[^{}]+\}/y;
const MAX_DEPTH = 100;

class OverrideParser {
  readonly input: string;
  position = 0;
  depth = 0;

  constructor(input: string) {
    this.input = input;
  }

  override(): Override {
    let type: OverrideType = "CHANGE";
    if (this.take("~")) type = "DEL";
    else if (this.take("+")) type = this.take("+") ? "FORCE_ADD" : "ADD";
    const key = this.match(GROUP) ?? this.packageName();
    const packageName = this.take("@") ? this.packageName() : undefined;
    const hasValue = this.take("=");
    if (!hasValue && !(type === "DEL" && this.atEnd)) {
      throw this.error(this.atEnd ? "expected '=' and a value" : `unexpected '${this.peek}' in the key`);
    }
    let parsed: Parsed = hasValue ? "" : null;
    if (hasValue) {
      this.blanks();
      if (!this.atEnd) parsed = this.value();
    }
    return { input: this.input, type, key, package: packageName, parsed, hasValue };
  }

  packageName(): string {
    return this.match(DOT_PATH) ?? this.match(SPECIAL_KEY) ?? "";
  }

  value(): Parsed {
    const elements = [this.element()];
    while (this.comma()) elements.push(this.element());
    if (!this.atEnd) throw this.error(`unexpected '${this.peek}'`);
    return elements.length === 1 ? elements[0]! : Sweep.choice(elements, true);
  }

  element(): Parsed {
    if (++this.depth > MAX_DEPTH) throw this.error("nested too deeply");
    const parsed = this.elementInside();
    this.depth--;
    return parsed;
  }

  elementInside(): Parsed {
    if (this.peek === "'" || this.peek === '"') return this.quoted();
    if (this.peek === "[") return this.list();
    if (this.peek === "{") return this.mapping();
    return this.call() ?? this.word();
  }

  quoted(): Quoted {
    const quote = this.peek as "'" | '"';
    let text = "";
    for (let i = this.position + 1; i < this.input.length; i++) {
      let run = 0;
      while (this.input[i] === "\\") {
        run++;
        i++;
      }
      if (this.input[i] === quote) {
        // Only backslashes before a quote are escapes.
        text += "\\".repeat(run >> 1);
        if (run % 2 === 0) {
          this.position = i + 1;
          return new Quoted(text, quote);
        }
        text += quote;
      } else text += "\\".repeat(run) + (this.input[i] ?? "");
    }
    throw this.error(`missing closing ${quote}`);
  }

  list(): Parsed[] {
    this.position++;
    const items: Parsed[] = [];
    this.blanks();
    if (this.close("]")) return items;
    do items.push(this.element());
    while (this.comma());
    if (!this.close("]"))
      throw this.error(this.atEnd ? "missing ']'" : `unexpected '${this.peek}' in a list`);
    return items;
  }

  mapping(): Map<Scalar, Parsed> {
    this.position++;
    const entries = new Map<Scalar, Parsed>();
    this.blanks();
    if (this.close("}")) return entries;
    do {
      const key = this.wordText(":");
      if (this.peek !== ":") throw this.error("expected 'key: value'");
      this.position++;
      this.blanks();
      setKey(entries, key.value, this.element());
    } while (this.comma());
    if (!this.close("}"))
      throw this.error(this.atEnd ? "missing '}'" : `unexpected '${this.peek}' in a mapping`);
    return entries;
  }

  /** `name(args)`, or undefined when there is no call here. */
  call(): Parsed | undefined {
    const start = this.position;
    const name = this.match(ID);
    if (name !== undefined) {
      this.blanks();
      if (this.take("(")) return this.callArguments(name);
    }
    this.position = start;
    return undefined;
  }

  callArguments(name: string): Parsed {
    const positional: Parsed[] = [];
    const named = new Map<string, Parsed>();
    this.blanks();
    if (!this.close(")")) {
      do {
        const argument = this.argumentName();
        if (argument === undefined) {
          if (named.size > 0) throw this.error("a positional argument after a named one");
          positional.push(this.element());
        } else {
          if (named.has(argument)) throw this.error(`argument '${argument}' given twice`);
          named.set(argument, this.element());
        }
      } while (this.comma());
      if (!this.close(")"))
        throw this.error(this.atEnd ? "missing ')'" : `unexpected '${this.peek}' in ${name}(...)`);
    }
    try {
      return callFunction(name, positional, named);
    } catch (error) {
      if (error instanceof UserError) throw this.error(`${name}(...): ${error.message}`);
      throw error;
    }
  }

  argumentName(): string | undefined {
    const start = this.position;
    const name = this.match(ID);
    if (name !== undefined) {
      this.blanks();
      if (this.take("=")) {
        this.blanks();
        return name;
      }
    }
    this.position = start;
    return undefined;
  }

  word(): Scalar {
    return this.wordText(null).value;
  }

  /** Unquoted text up to a delimiter: one word is typed, anything longer (or escaped) is a string. */
  wordText(stop: ":" | null): { value: Scalar } {
    const start = this.position;
    let text = "";
    let kept = 0;
    let begun = false;
    let special = false;
    while (!this.atEnd) {
      const c = this.peek;
      const interpolation = stop === null ? this.match(INTERPOLATION) : undefined;
      if (interpolation !== undefined) {
        text += interpolation;
        special = true;
      } else if (c === "\\" && "\\()[]{}:=, \t".includes(this.input[this.position + 1] ?? "x")) {
        text += this.input[this.position + 1];
        this.position += 2;
        special = true;
      } else if (c === " " || c === "\t") {
        if (begun) text += c;
        this.position++;
        continue;
      } else if (c === ":" && stop !== ":") {
        // Blanks after a colon belong to it, even at the end.
        const start = this.position++;
        this.blanks();
        text += this.input.slice(start, this.position);
      } else if (WORD_CHARACTER.test(c)) {
        text += c;
        this.position++;
      } else break;
      begun = true;
      kept = text.length;
    }
    if (!begun)
      throw this.error(
        this.atEnd
          ? "expected a value"
          : `unexpected '${this.input[start] === " " ? this.peek : this.input[start]}'`,
      );
    text = text.slice(0, kept);
    return { value: special ? text : typedWord(text) };
  }

  /** Consumes a comma with the blanks around it. */
  comma(): boolean {
    if (!this.delimiter(",")) return false;
    this.blanks();
    return true;
  }

  /** Consumes a closing bracket with the blanks before it. */
  close(bracket: string): boolean {
    return this.delimiter(bracket);
  }

  delimiter(character: string): boolean {
    const start = this.position;
    this.blanks();
    if (this.take(character)) return true;
    this.position = start;
    return false;
  }

  get peek(): string {
    return this.input[this.position] ?? "";
  }

  get atEnd(): boolean {
    return this.position >= this.input.length;
  }

  take(text: string): boolean {
    if (!this.input.startsWith(text, this.position)) return false;
    this.position += text.length;
    return true;
  }

  match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.position;
    const match = pattern.exec(this.input);
    if (!match) return undefined;
    this.position += match[0].length;
    return match[0];
  }

  blanks(): void {
    while (this.peek === " " || this.peek === "\t") this.position++;
  }

  error(message: string): UserError {
    return new UserError(
      `cannot read override '${this.input}' at character ${this.position + 1}: ${message}; ` +
        "text with special characters needs quotes: key='...'",
    );
  }
}
