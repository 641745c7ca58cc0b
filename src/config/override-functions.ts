/** The functions of the override language: casts, sweeps, and what orders or tags them. */
import { UserError } from "../errors.ts";
import { type Parsed, Quoted, Sweep } from "./override-value.ts";
import { parseFloatWord, pyStr, type Scalar } from "./scalar.ts";

/** Calls `name(...positional, ...named)`. Throws UserError for an unknown function or arguments it does not take. */
export function callFunction(name: string, positional: Parsed[], named: Map<string, Parsed>): Parsed {
  const call = Object.hasOwn(functions, name) ? functions[name] : undefined;
  if (!call) throw new UserError(`there is no such function; known: ${Object.keys(functions).join(", ")}`);
  return call(new Arguments(positional, named));
}

const functions: Record<string, (args: Arguments) => Parsed> = {
  int: (args) => castAll(args, castInt),
  float: (args) => castAll(args, castFloat),
  str: (args) => castAll(args, castStr),
  bool: (args) => castAll(args, castBool),
  choice,
  range,
  interval,
  glob,
  tag,
  sort,
  shuffle,
};

/** Positional and named arguments, bound like a Python call. */
class Arguments {
  readonly rest: Parsed[];
  readonly named: Map<string, Parsed>;

  constructor(rest: Parsed[], named: Map<string, Parsed>) {
    this.rest = rest;
    this.named = named;
  }

  /** Binds to named parameters; an argument too many, unknown or given twice is an error. */
  bind(names: string[]): (Parsed | undefined)[] {
    if (this.rest.length > names.length) throw new UserError(`takes at most ${names.length} arguments`);
    this.only(names);
    return names.map((name, i) => {
      if (i < this.rest.length && this.named.has(name)) throw new UserError(`argument '${name}' given twice`);
      return i < this.rest.length ? this.rest[i] : this.named.get(name);
    });
  }

  /** The argument called `name`; arguments without a name stay in `rest`. */
  option(name: string): Parsed | undefined {
    return this.named.get(name);
  }

  only(names: string[]): void {
    for (const name of this.named.keys())
      if (!names.includes(name)) throw new UserError(`has no argument '${name}'`);
  }
}

function choice(args: Arguments): Sweep {
  args.only([]);
  const first = args.rest[0];
  if (args.rest.length === 0) throw new UserError("needs at least one value");
  if (args.rest.length === 1 && first instanceof Sweep && first.of.kind === "choice" && first.of.simple) {
    return first.with({ ...first.of, simple: false });
  }
  for (const item of args.rest) {
    const nested = item instanceof Sweep && item.of.kind === "choice" && args.rest.length > 1;
    if (item === null || (item instanceof Sweep && !nested))
      throw new UserError("takes values: no null, no sweep");
  }
  return Sweep.choice(args.rest, false);
}

function range(args: Arguments): Sweep {
  const [first, second, third] = args.bind(["start", "stop", "step"]);
  const step = third === undefined ? 1n : numeric(third, "step");
  if (first === undefined) throw new UserError("needs 'start'");
  if (second === undefined || second === null) {
    return new Sweep({ kind: "range", start: 0n, stop: numeric(first, "start"), step });
  }
  return new Sweep({ kind: "range", start: numeric(first, "start"), stop: numeric(second, "stop"), step });
}

function interval(args: Arguments): Sweep {
  const [start, end] = args.bind(["start", "end"]);
  if (start === undefined || end === undefined) throw new UserError("needs 'start' and 'end'");
  const bound = (value: Parsed, name: string) => Number(numeric(value, name));
  return new Sweep({ kind: "interval", start: bound(start, "start"), end: bound(end, "end") });
}

function glob(args: Arguments): Sweep {
  const [include, exclude] = args.bind(["include", "exclude"]);
  if (include === undefined || include === null) throw new UserError("needs 'include'");
  return new Sweep({
    kind: "glob",
    include: patterns(include),
    exclude: exclude === undefined ? [] : patterns(exclude),
  });
}

function tag(args: Arguments): Sweep {
  args.only(["sweep"]);
  const tags = [...args.rest];
  if (tags.length === 0) throw new UserError("needs a tag or a sweep without a name");
  const sweep = args.option("sweep") ?? tags.pop();
  if (!(sweep instanceof Sweep) || sweep.of.kind === "glob") {
    throw new UserError("needs a sweep as the last argument");
  }
  const names = tags.map((name) => {
    if (name instanceof Quoted) return name.text;
    if (typeof name === "string") return name;
    throw new UserError("a tag must be a string");
  });
  return new Sweep(sweep.of, { shuffle: sweep.shuffle, tags: [...new Set(names)] });
}

function sort(args: Arguments): Parsed {
  args.only(["sweep", "list", "reverse"]);
  const reverse = args.option("reverse") ?? false;
  if (typeof reverse !== "boolean") throw new UserError("'reverse' must be true or false");
  const subject = soleSubject(args);
  if (subject instanceof Sweep) return sortedSweep(subject, reverse);
  if (Array.isArray(subject)) {
    // Quoted elements of a list have no order of their own in Hydra.
    if (subject.length > 1 && subject.some((item) => item instanceof Quoted))
      throw new UserError("cannot sort quoted list elements");
    return sorted(subject, reverse);
  }
  if (args.rest.length === 0) throw new UserError("needs at least one value");
  if (args.rest.length === 1) return args.rest[0]!;
  if (args.rest.some(Array.isArray)) throw new UserError("takes several values, or one list");
  return Sweep.choice(sorted(args.rest, reverse), true);
}

function shuffle(args: Arguments): Parsed {
  args.only(["sweep", "list"]);
  const subject = soleSubject(args);
  if (subject instanceof Sweep) {
    if (subject.of.kind !== "choice" && subject.of.kind !== "range")
      throw new UserError(`cannot shuffle: ${subject.of.kind}`);
    return new Sweep(subject.of, { shuffle: true, tags: subject.tags });
  }
  if (Array.isArray(subject)) return shuffled(subject);
  if (args.rest.includes(null)) throw new UserError("takes values: no null");
  if (args.rest.length === 1) return [...args.rest];
  return new Sweep({ kind: "choice", list: args.rest, simple: true }, { shuffle: true });
}

/** What `sort` and `shuffle` work on: `list`, else `sweep`, else the only argument if it is a list or a sweep. */
function soleSubject(args: Arguments): Parsed[] | Sweep | undefined {
  const list = args.option("list");
  const sweep = args.option("sweep");
  if (list !== undefined && !Array.isArray(list)) throw new UserError("'list' must be a list");
  if (sweep !== undefined && !(sweep instanceof Sweep)) throw new UserError("'sweep' must be a sweep");
  if (list !== undefined) return list;
  if (sweep !== undefined) return sweep;
  if (args.rest.length > 1 && args.rest.some((item) => item instanceof Sweep))
    throw new UserError("takes one sweep");
  const only = args.rest.length === 1 ? args.rest[0] : undefined;
  return only instanceof Sweep || Array.isArray(only) ? only : undefined;
}

function sortedSweep(sweep: Sweep, reverse: boolean): Sweep {
  const of = sweep.of;
  if (of.kind === "choice") return sweep.with({ ...of, list: sorted(of.list, reverse) });
  if (of.kind !== "range") throw new UserError(`cannot sort: ${of.kind}`);
  const [start, stop] = [Number(of.start), Number(of.stop)];
  if (reverse ? start >= stop : start <= stop) return sweep;
  // The same values from the other end: the last comes first, the new stop lies one step beyond the old start.
  const stride = Number(of.step) < 0 ? add(0n, of.step, -1) : of.step;
  const sign = reverse ? -1 : 1;
  return sweep.with({
    kind: "range",
    start: add(of.stop, stride, sign),
    stop: add(of.start, stride, sign),
    step: add(0n, of.step, -1),
  });
}

/** x + sign y; of integers an integer. */
function add(x: bigint | number, y: bigint | number, sign: 1 | -1): bigint | number {
  return typeof x === "bigint" && typeof y === "bigint" ? x + BigInt(sign) * y : Number(x) + sign * Number(y);
}

/** Python's order: numbers and booleans by value, texts by code points, lists element by element. */
function compare(a: Parsed, b: Parsed): number {
  if (isOrderedNumber(a) && isOrderedNumber(b)) return a < b ? -1 : a > b ? 1 : 0;
  if (typeof a === "string" && typeof b === "string") return Buffer.compare(Buffer.from(a), Buffer.from(b));
  if (Array.isArray(a) && Array.isArray(b)) {
    for (let i = 0; i < Math.min(a.length, b.length); i++) {
      const comparison = compare(a[i]!, b[i]!);
      if (comparison !== 0) return comparison;
    }
    return a.length - b.length;
  }
  throw new UserError("cannot compare values of different types");
}

function isOrderedNumber(value: Parsed): value is bigint | number | boolean {
  return typeof value === "bigint" || typeof value === "number" || typeof value === "boolean";
}

function sorted(items: Parsed[], reverse: boolean): Parsed[] {
  const keyed = items.map((item) => ({ item, key: item instanceof Quoted ? item.text : item }));
  const direction = reverse ? -1 : 1;
  return keyed.sort((a, b) => direction * compare(a.key, b.key)).map(({ item }) => item);
}

function shuffled(items: Parsed[]): Parsed[] {
  const copy = [...items];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [copy[i], copy[j]] = [copy[j]!, copy[i]!];
  }
  return copy;
}

type Cast = (value: Scalar) => Scalar;

function castAll(args: Arguments, cast: Cast): Parsed {
  args.only(["value"]);
  if (args.named.has("value")) {
    if (args.rest.length > 0) throw new UserError("takes either values or 'value'");
    return castValue(args.option("value") ?? null, cast);
  }
  if (args.rest.length === 0) throw new UserError("needs a value");
  if (args.rest.length === 1) return castValue(args.rest[0]!, cast);
  if (args.rest.some((item) => item instanceof Sweep))
    throw new UserError("takes several values, or one sweep");
  return Sweep.choice(
    args.rest.map((item) => castValue(item, cast)),
    true,
  );
}

function castValue(value: Parsed, cast: Cast): Parsed {
  if (value instanceof Quoted) return cast(value.text);
  if (Array.isArray(value)) return value.map((item) => castValue(item, cast));
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, castValue(item, cast)]));
  if (!(value instanceof Sweep)) return cast(value);
  const of = value.of;
  if (of.kind === "choice") return value.with({ ...of, list: of.list.map((item) => castValue(item, cast)) });
  if (cast !== castInt && cast !== castFloat)
    throw new UserError(`a ${of.kind} can only be cast to int or float`);
  const number = (x: bigint | number) => cast(x) as bigint | number;
  if (of.kind === "range")
    return value.with({ ...of, start: number(of.start), stop: number(of.stop), step: number(of.step) });
  if (of.kind === "interval") return value.with({ ...of, start: number(of.start), end: number(of.end) });
  throw new UserError("a glob cannot be cast");
}

function castInt(value: Scalar): bigint {
  if (typeof value === "bigint") return value;
  if (typeof value === "boolean") return value ? 1n : 0n;
  if (typeof value === "number" && Number.isFinite(value)) return BigInt(Math.trunc(value));
  if (typeof value === "string" && /^\s*[+-]?\d+(?:_\d+)*\s*$/.test(value)) {
    const digits = value.trim().replaceAll("_", "");
    return digits.startsWith("-") ? -BigInt(digits.slice(1)) : BigInt(digits.replace("+", ""));
  }
  throw cannotCast(value, "int");
}

function castFloat(value: Scalar): number {
  if (typeof value === "number") return value;
  if (typeof value === "bigint" || typeof value === "boolean") return Number(value);
  if (typeof value === "string") {
    const text = value
      .trim()
      .replace(/(?<=\d)_(?=\d)/g, "")
      .toLowerCase();
    if (/^[+-]?(?:inf|infinity|nan)$/.test(text)) return parseFloatWord(text.replace("infinity", "inf"));
    if (/^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/.test(text)) return Number(text);
  }
  throw cannotCast(value, "float");
}

function castStr(value: Scalar): string {
  if (value === null) throw cannotCast(value, "str");
  return typeof value === "boolean" ? String(value) : pyStr(value);
}

function castBool(value: Scalar): boolean {
  if (typeof value === "string") {
    const lower = value.toLowerCase();
    if (lower === "true") return true;
    if (lower === "false") return false;
    throw cannotCast(value, "bool");
  }
  // NaN is true in Python.
  return Boolean(value) || Number.isNaN(value);
}

function cannotCast(value: Scalar, type: string): UserError {
  return new UserError(`'${pyStr(value)}' is not ${type === "int" ? "an int" : `a ${type}`}`);
}

/** A number; true and false are 1 and 0 as in Python. */
function numeric(value: Parsed, name: string): bigint | number {
  if (typeof value === "bigint" || typeof value === "number") return value;
  if (typeof value === "boolean") return value ? 1n : 0n;
  throw new UserError(`'${name}' must be a number`);
}

function patterns(value: Parsed): string[] {
  if (value instanceof Quoted) return [value.text];
  if (typeof value === "string") return [value];
  if (!Array.isArray(value)) throw new UserError("a pattern must be a string");
  return value.map((item) => {
    const plain = item instanceof Quoted ? item.text : item;
    if (isOrderedNumber(plain) || typeof plain === "string") return pyStr(plain);
    throw new UserError("a pattern must be a string");
  });
}
