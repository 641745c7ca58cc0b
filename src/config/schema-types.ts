/** Building blocks of a config schema: each checks a plain value, says what it expects, and gives a TypeScript type. */
import { nearest } from "./suggest.ts";

/** A mistake found in a value. `path`: where, dotted. */
export interface Problem {
  path: string;
  message: string;
  /** For an unknown key: the known one that is nearest. */
  suggestion?: string;
}

export interface Schema<T> {
  /** What values are allowed, in a few words. */
  readonly expects: string;
  /** One line about the meaning. */
  readonly description?: string;
  /** May the key be absent? */
  readonly optional?: boolean;
  /** All allowed values, where they can be listed: for help and completion. */
  readonly values?: readonly string[];
  /** For objects: the known keys. */
  readonly fields?: Record<string, Schema<unknown>>;
  check(value: unknown, path: string, problems: Problem[]): void;
  /** Only in the types: carries T. */
  readonly type?: T;
}

export type Infer<S> = S extends Schema<infer T> ? T : never;

interface Range {
  min?: number;
  max?: number;
  /** The bounds themselves are not allowed. */
  exclusive?: boolean;
}

export function int(range: Range = {}): Schema<number> {
  return leaf(
    `an integer${rangeText(range)}`,
    (value) => Number.isInteger(value) && inRange(value as number, range),
  );
}

/** Integers are accepted too. */
export function float(range: Range = {}): Schema<number> {
  return leaf(`a number${rangeText(range)}`, (value) => typeof value === "number" && inRange(value, range));
}

export function bool(): Schema<boolean> {
  return {
    ...leaf<boolean>("true or false", (value) => typeof value === "boolean"),
    values: ["true", "false"],
  };
}

export function string(): Schema<string> {
  return leaf("a text", (value) => typeof value === "string");
}

export function oneOf<const V extends string>(...values: V[]): Schema<V> {
  return {
    ...leaf<V>(`one of ${values.join(", ")}`, (value) => (values as unknown[]).includes(value)),
    values,
  };
}

/** Texts of one form, where `some` are examples of it. */
export function matching<T extends string>(form: RegExp, ...some: string[]): Schema<T> {
  return {
    ...leaf<T>(`one of ${some.join(", ")}`, (value) => typeof value === "string" && form.test(value)),
    values: some,
  };
}

/** Anything; for parts that belong to others. */
export function anything(): Schema<unknown> {
  return leaf("anything", () => true);
}

export function nullable<T>(inner: Schema<T>): Schema<T | null> {
  return {
    ...inner,
    expects: `${inner.expects}, or null`,
    values: inner.values && [...inner.values, "null"],
    check(value, path, problems) {
      if (value !== null) inner.check(value, path, problems);
    },
    type: undefined,
  } as Schema<T | null>;
}

export function list<T>(item: Schema<T>): Schema<T[]> {
  return {
    expects: `a list, each ${item.expects}`,
    check(value, path, problems) {
      if (!Array.isArray(value)) problems.push(mismatch(path, this.expects, value));
      else
        value.forEach((element, i) => {
          item.check(element, `${path}[${i}]`, problems);
        });
    },
  };
}

/** A mapping with free keys. */
export function record<T>(item: Schema<T>): Schema<Record<string, T>> {
  return {
    expects: `a mapping, each ${item.expects}`,
    check(value, path, problems) {
      if (!isObject(value)) problems.push(mismatch(path, this.expects, value));
      else for (const [key, element] of Object.entries(value)) item.check(element, join(path, key), problems);
    },
  };
}

type Fields = Record<string, Schema<unknown>>;
type OptionalKeys<F extends Fields> = {
  [K in keyof F]: F[K] extends { optional: true } ? K : never;
}[keyof F];
type ObjectOf<F extends Fields> = { [K in Exclude<keyof F, OptionalKeys<F>>]: Infer<F[K]> } & {
  [K in OptionalKeys<F>]?: Infer<F[K]>;
};

/** A mapping with known keys; with `open`, others are let through (they may serve interpolations). */
export function object<F extends Fields>(fields: F, options: { open?: boolean } = {}): Schema<ObjectOf<F>> {
  return {
    expects: "a mapping",
    fields,
    check(value, path, problems) {
      if (!isObject(value)) {
        problems.push(mismatch(path, this.expects, value));
        return;
      }
      for (const [key, schema] of Object.entries(fields)) {
        if (Object.hasOwn(value, key)) schema.check(value[key], join(path, key), problems);
        else if (!schema.optional)
          problems.push({ path: join(path, key), message: `is not given; expected ${schema.expects}` });
      }
      if (options.open) return;
      for (const key of Object.keys(value)) {
        if (Object.hasOwn(fields, key)) continue;
        const similar = nearest(key, Object.keys(fields));
        problems.push({
          path: join(path, key),
          message: "is not a known key",
          ...(similar && { suggestion: join(path, similar) }),
        });
      }
    },
  };
}

/** The key may be absent. */
export function optional<S extends Schema<unknown>>(schema: S): S & { optional: true } {
  return { ...schema, optional: true };
}

/** Adds the one-line description. */
export function about<S extends Schema<unknown>>(description: string, schema: S): S {
  return { ...schema, description };
}

function leaf<T>(expects: string, accepts: (value: unknown) => boolean): Schema<T> {
  return {
    expects,
    check(value, path, problems) {
      if (!accepts(value)) problems.push(mismatch(path, this.expects, value));
    },
  };
}

function mismatch(path: string, expects: string, value: unknown): Problem {
  if (value === "???") return { path, message: `must be given: expected ${expects}` };
  const shown = JSON.stringify(value) ?? String(value);
  return {
    path,
    message: `expected ${expects}, got ${shown.length > 60 ? `${shown.slice(0, 57)}...` : shown}`,
  };
}

function inRange(value: number, { min = -Infinity, max = Infinity, exclusive = false }: Range): boolean {
  return exclusive ? value > min && value < max : value >= min && value <= max;
}

function rangeText({ min, max, exclusive }: Range): string {
  if (min !== undefined && max !== undefined)
    return exclusive ? ` between ${min} and ${max}` : ` from ${min} to ${max}`;
  if (min !== undefined) return exclusive ? ` above ${min}` : ` of at least ${min}`;
  if (max !== undefined) return exclusive ? ` below ${max}` : ` of at most ${max}`;
  return "";
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}
