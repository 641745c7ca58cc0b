/** What the override grammar yields: values that remember their quotes, and sweeps. */
import { floatRepr, type Scalar } from "./scalar.ts";

export type Parsed = Scalar | Quoted | Sweep | Parsed[] | Map<Scalar, Parsed>;

/** A quoted text: never typed. */
export class Quoted {
  readonly text: string;
  readonly quote: "'" | '"';

  constructor(text: string, quote: "'" | '"') {
    this.text = text;
    this.quote = quote;
  }
}

export type SweepKind =
  | { kind: "choice"; list: Parsed[]; simple: boolean }
  | { kind: "range"; start: bigint | number; stop: bigint | number; step: bigint | number }
  | { kind: "interval"; start: bigint | number; end: bigint | number }
  | { kind: "glob"; include: string[]; exclude: string[] };

/** Several values to try one after another. */
export class Sweep {
  readonly of: SweepKind;
  readonly shuffle: boolean;
  readonly tags: string[];

  constructor(of: SweepKind, options: { shuffle?: boolean; tags?: string[] } = {}) {
    this.of = of;
    this.shuffle = options.shuffle ?? false;
    this.tags = options.tags ?? [];
  }

  static choice(list: Parsed[], simple: boolean): Sweep {
    return new Sweep({ kind: "choice", list, simple });
  }

  /** The same sweep with other content. */
  with(of: SweepKind): Sweep {
    return new Sweep(of, this);
  }
}

/** Quotes removed at every depth; sweeps stay sweeps. */
export function plainValue(parsed: Parsed): unknown {
  if (parsed instanceof Quoted) return parsed.text;
  if (Array.isArray(parsed)) return parsed.map(plainValue);
  if (parsed instanceof Map) return new Map([...parsed].map(([key, value]) => [key, plainValue(value)]));
  return parsed;
}

/** How a value reads in the override language: parsing the text gives the value back. */
export function overrideText(parsed: Parsed): string {
  if (parsed instanceof Quoted) {
    const escaped = parsed.text.replace(
      parsed.quote === "'" ? /(\\*)('|$)/g : /(\\*)("|$)/g,
      (_, slashes: string, quote: string) => slashes + slashes + (quote && `\\${quote}`),
    );
    return parsed.quote + escaped + parsed.quote;
  }
  if (Array.isArray(parsed)) return `[${parsed.map(overrideText).join(",")}]`;
  if (parsed instanceof Map) {
    return `{${[...parsed].map(([key, value]) => `${overrideText(key)}:${overrideText(value)}`).join(",")}}`;
  }
  if (parsed === null) return "null";
  // As Hydra writes them.
  if (typeof parsed === "boolean") return parsed ? "True" : "False";
  if (typeof parsed === "number") return floatRepr(parsed);
  if (typeof parsed === "string") return escapeWord(parsed);
  return String(parsed);
}

function escapeWord(text: string): string {
  return text.replace(/[\\()[\]{}:=, \t]/g, (c) => `\\${c}`);
}
