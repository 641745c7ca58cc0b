/** Which metrics are shown in text, and in which number format. */
import { formatNumber } from "./python_format.ts";

export type Metrics = Readonly<Record<string, number>>;

export interface FormatterOptions {
  /** Shell-like pattern of metric names -> number format; the first that matches counts. */
  formats?: Readonly<Record<string, string>>;
  defaultFormat?: string;
  /** Patterns of metrics to hide. Without any, `includeKeys`, when given, are the only ones shown. */
  excludeKeys?: readonly string[];
  /** Patterns of metrics to show though they are hidden. */
  includeKeys?: readonly string[];
  /** Whether a format of its own shows a metric, too. */
  includeFormatted?: boolean;
}

/** The text form of metrics; hidden ones are still stored by whoever stores them. */
export class Formatter {
  private readonly formats: { matches: RegExp; spec: string }[];
  private readonly defaultFormat: string;
  private readonly excluded: RegExp[];
  private readonly included: RegExp[];
  private readonly onlyIncluded: boolean;

  constructor({
    formats = {},
    defaultFormat = ".3f",
    excludeKeys = [],
    includeKeys = [],
    includeFormatted = true,
  }: FormatterOptions = {}) {
    this.formats = Object.entries(formats).map(([pattern, spec]) => ({
      matches: shellPattern(pattern),
      spec,
    }));
    this.defaultFormat = defaultFormat;
    this.excluded = excludeKeys.map(shellPattern);
    this.included = [...includeKeys, ...(includeFormatted ? Object.keys(formats) : [])].map(shellPattern);
    this.onlyIncluded = includeKeys.length > 0;
  }

  /** Name -> text of the metrics that are shown, in their order. */
  format(metrics: Metrics): Record<string, string> {
    const shown = Object.entries(metrics).filter(([name]) => this.shows(name));
    return Object.fromEntries(shown.map(([name, value]) => [name, formatNumber(value, this.formatOf(name))]));
  }

  private shows(name: string): boolean {
    const isIncluded = this.included.some((pattern) => pattern.test(name));
    if (this.excluded.length > 0) return isIncluded || !this.excluded.some((pattern) => pattern.test(name));
    return isIncluded || !this.onlyIncluded;
  }

  private formatOf(name: string): string {
    return this.formats.find(({ matches }) => matches.test(name))?.spec ?? this.defaultFormat;
  }
}

/** `*`, `?`, `[abc]` and `[!abc]` of a shell, matching the whole name and its case. */
function shellPattern(pattern: string): RegExp {
  const source = pattern.replace(/\[(!?)([^\]]+)\]|[\s\S]/g, (part, negation: string, set: string) => {
    if (part === "*") return "[\\s\\S]*";
    if (part === "?") return "[\\s\\S]";
    if (set !== undefined) return `[${negation ? "^" : ""}${set.replace(/[\\^]/g, "\\$&")}]`;
    return part.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  });
  return new RegExp(`^${source}$`);
}
