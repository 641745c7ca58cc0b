/** Reading the settings of one conditioner out of a config. */
import { UserError } from "../../errors.ts";
import type { AutocastType } from "../../runtime/index.ts";

export type Section = Record<string, unknown>;

/** Reads values of a config section; errors name the full key. */
export class Options {
  readonly path: string;
  private readonly values: Section;

  constructor(path: string, section: unknown) {
    if (typeof section !== "object" || section === null || Array.isArray(section)) {
      throw new UserError(`${path} must be a section of keys, got ${JSON.stringify(section)}`);
    }
    this.path = path;
    this.values = section as Section;
  }

  only(known: readonly string[]): void {
    const unknown = Object.keys(this.values).find((key) => !known.includes(key));
    if (unknown === undefined) return;
    throw new UserError(`${this.path}.${unknown} is not an option here; the options are ${known.join(", ")}`);
  }

  /** The section under a key; an absent one is empty. */
  section(key: string): Options {
    return new Options(`${this.path}.${key}`, this.values[key] ?? {});
  }

  string(key: string, absent?: string): string {
    return this.read(key, absent, "a text", (value) => typeof value === "string");
  }

  number(key: string, absent?: number): number {
    return this.read(key, absent, "a number", (value) => typeof value === "number" && Number.isFinite(value));
  }

  /** A number, or null. */
  optionalNumber(key: string): number | null {
    return this.values[key] == null ? null : this.number(key);
  }

  /** A text, or null. */
  optionalString(key: string): string | null {
    return this.values[key] == null ? null : this.string(key);
  }

  /** A positive integer, or null. */
  optionalSize(key: string): number | null {
    return this.values[key] == null ? null : this.size(key);
  }

  /** A positive integer. */
  size(key: string, absent?: number): number {
    const isSize = (value: unknown) => Number.isInteger(value) && (value as number) > 0;
    return this.read<number>(key, absent, "a positive integer", isSize);
  }

  boolean(key: string, absent: boolean): boolean {
    return this.read(key, absent, "true or false", (value) => typeof value === "boolean");
  }

  /** A list of numbers, empty for null. */
  numbers(key: string): number[] {
    const isNumbers = (value: unknown) =>
      Array.isArray(value) && value.every((item) => typeof item === "number" && Number.isFinite(item));
    return this.read<number[]>(key, [], "a list of numbers", isNumbers);
  }

  /** The type of matrix products by the name of a dtype; null for float32. */
  autocast(key: string): AutocastType | null {
    const dtype = this.string(key, "float32");
    if (dtype === "float32") return null;
    if (dtype === "bfloat16" || dtype === "float16") return dtype;
    throw new UserError(`${this.path}.${key}=${dtype}: use float32, bfloat16 or float16`);
  }

  strings(key: string): string[] {
    const isStrings = (value: unknown) =>
      Array.isArray(value) && value.every((item) => typeof item === "string");
    return this.read<string[]>(key, [], "a list of names", isStrings);
  }

  private read<T>(
    key: string,
    absent: T | undefined,
    expected: string,
    fits: (value: unknown) => boolean,
  ): T {
    const value = this.values[key] ?? absent;
    if (fits(value)) return value as T;
    throw new UserError(`${this.path}.${key} must be ${expected}, got ${JSON.stringify(value) ?? "nothing"}`);
  }
}
