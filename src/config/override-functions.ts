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
  if (args.rest.some((item) => item instanceof Sweep)) throw new UserError("takes values, not sweeps");
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
  return new Sweep({ kind: "interval", start: numeric(start, "start"), end: numeric(end, "end") });
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
  const sweep = args.option("sweep") ?? tags.pop();
  if (!(sweep instanceof Sweep) || sweep.of.kind === "glob")
    throw new UserError("needs a sweep as the last argument");
  const names = tags.map((name) => {
    if (name instanceof Quoted) return name.text;
    if (typeof name === "string") return name;
    throw new UserError("a tag must be a string");
  });
  return new Sweep(sweep.of, { shuffle: sweep.shuffle, tags: [...new Set([...sweep.tags, ...names])] });
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
  if (args.rest.length === 1) return args.rest[0]!;
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
  if (args.rest.length === 1) return [...args.rest];
  return new Sweep({ kind: "choice", list: args.rest, simple: true }, { shuffle: true });
}

/** The one sweep or list that `sort` and `shuffle` were given, by name or as the only argument. */
function soleSubject(args: Arguments): Parsed[] | Sweep | undefined {
  const named = args.option("sweep") ?? args.option("list");
  if (named !== undefined && (args.rest.length > 0 || (args.named.has("sweep") && args.named.has("list")))) {
    throw new UserError("takes either values, or 'sweep', or 'list'");
  }
  if (args.option("sweep") !== undefined && !(named instanceof Sweep))
    throw new UserError("'sweep' must be a sweep");
  if (args.option("list") !== undefined && !Array.isArray(named))
    throw new UserError("'list' must be a list");
  if (named === undefined && args.rest.length === 0) throw new UserError("needs at least one value");
  if (args.rest.length > 1 && args.rest.some((item) => item instanceof Sweep))
    throw new UserError("takes one sweep");
  const subject = named ?? (args.rest.length === 1 ? args.rest[0] : undefined);
  return subject instanceof Sweep || Array.isArray(subject) ? subject : undefined;
}

function sortedSweep(sweep: Sweep, reverse: boolean): Sweep {
  const of = sweep.of;
  if (of.kind === "choice") return sweep.with({ ...of, list: sorted(of.list, reverse) });
  if (of.kind !== "range") throw new UserError(`cannot sort: ${of.kind}`);
  const ascending = Number(of.start) <= Number(of.stop);
  if (ascending !== reverse) return sweep;
  // Walk the same values from the other end: the last value comes first, the stop lies one step beyond the old first.
  const flip = (x: bigint | number, y: bigint | number, sign: 1 | -1) =>
    typeof x === "bigint" && typeof y === "bigint" ? x + BigInt(sign) * y : Number(x) + sign * Number(y);
  return sweep.with({
    kind: "range",
    start: flip(of.stop, of.step, -1),
    stop: flip(of.start, of.step, -1),
    step: flip(0n, of.step, -1),
  });
}

function sorted(items: Parsed[], reverse: boolean): Parsed[] {
  const keys = items.map((item) => (item instanceof Quoted ? item.text : item));
  const isNumber = (key: unknown) =>
    typeof key === "bigint" || typeof key === "number" || typeof key === "boolean";
  if (items.length > 1 && !keys.every(isNumber) && !keys.every((key) => typeof key === "string")) {
    throw new UserError("cannot compare values of different types");
  }
  const order = items.map((_, i) => i);
  order.sort((i, j) => {
    const [a, b] = [keys[i], keys[j]];
    const comparison =
      typeof a === "string" ? compareCodePoints(a, b as string) : compareNumbers(a as number, b as number);
    return reverse ? -comparison : comparison;
  });
  return order.map((i) => items[i]!);
}

function compareCodePoints(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function compareNumbers(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
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
  return typeof value === "boolean" ? String(value) : pyStr(value);
}

function castBool(value: Scalar): boolean {
  if (typeof value === "string") {
    const lower = value.toLowerCase();
    if (lower === "true") return true;
    if (lower === "false") return false;
    throw cannotCast(value, "bool");
  }
  return Boolean(value);
}

function cannotCast(value: Scalar, type: string): UserError {
  return new UserError(`'${pyStr(value)}' is not ${type === "int" ? "an int" : `a ${type}`}`);
}

function numeric(value: Parsed, name: string): bigint | number {
  if (typeof value === "bigint" || typeof value === "number") return value;
  throw new UserError(`'${name}' must be a number`);
}

function patterns(value: Parsed): string[] {
  const items = Array.isArray(value) ? value : [value];
  return items.map((item) => {
    if (item instanceof Quoted) return item.text;
    if (typeof item === "string") return item;
    throw new UserError("a pattern must be a string");
  });
}
