/** Codebook interleaving: in which order a language model writes K parallel codebooks (MusicGen, section 2.2). */
import { UserError } from "../../errors.ts";
import { type Cell, type Layout, Pattern } from "./pattern.ts";

export { type Cell, type Layout, Pattern, type PatternIndexes } from "./pattern.ts";

/** Makes the pattern for a number of timesteps; the most recently used ones are kept. */
export interface PatternProvider {
  readonly nQ: number;
  getPattern(timesteps: number): Pattern;
}

/** The `codebooks_pattern` section of a config: the name of a pattern, and one section of options per pattern. */
export type PatternConfig = { modeling?: string | null } & Record<string, unknown>;

/**
 * The provider named by `codebooks_pattern.modeling`, with the options of the section of that name. `music_lm` and
 * `musiclm` mean the same, as a section and as a name.
 * @param legacyModeling `transformer_lm.q_modeling`, the name that old configs use instead, with delays 0..K-1
 * @throws UserError for an unknown pattern or option, or for options that do not fit `nQ` codebooks
 */
export function buildPatternProvider(
  config: PatternConfig,
  nQ: number,
  legacyModeling: string | null = null,
): PatternProvider {
  const legacy = config.modeling == null && legacyModeling != null;
  const modeling = legacy ? legacyModeling : config.modeling;
  const name = modeling === "music_lm" ? "musiclm" : modeling;
  const build = name != null && Object.hasOwn(LAYOUTS, name) ? LAYOUTS[name] : undefined;
  if (!name || !build) {
    throw new UserError(
      `codebooks_pattern.modeling is ${JSON.stringify(modeling ?? null)}; known patterns: ${Object.keys(LAYOUTS).join(", ")}`,
    );
  }
  const aliases = name === "musiclm" ? ["musiclm", "music_lm"] : [name];
  const section = legacy ? name : (aliases.find((alias) => config[alias] != null) ?? name);
  const values = (legacy ? {} : (config[section] ?? {})) as Record<string, unknown>;
  return cached(nQ, build(new Options(section, values), nQ));
}

type LayoutOf = (timesteps: number) => Layout;

const LAYOUTS: Record<string, (options: Options, nQ: number) => LayoutOf> = {
  parallel(options, nQ) {
    options.allow("empty_initial");
    return delayLayout(new Array(nQ).fill(0), 0, options.integer("empty_initial", 0, -1));
  },
  delay(options, nQ) {
    options.allow("delays", "flatten_first", "empty_initial");
    const delays = options.ascending("delays", nQ, range(nQ));
    return delayLayout(
      delays,
      options.integer("flatten_first", 0, 0),
      options.integer("empty_initial", 0, -1),
    );
  },
  unroll(options, nQ) {
    options.allow("flattening", "delays");
    return unrollLayout(options, nQ);
  },
  coarse_first(options, nQ) {
    options.allow("delays");
    if (nQ < 2) throw new UserError("codebooks_pattern coarse_first needs at least 2 codebooks, n_q is 1");
    return coarseFirstLayout(options.ascending("delays", nQ - 1, new Array(nQ - 1).fill(0)));
  },
  musiclm(options, nQ) {
    options.allow("group_by");
    const groupBy = options.integer("group_by", 2, 1);
    if (nQ % groupBy !== 0) throw options.error("group_by", `${groupBy} does not divide n_q = ${nQ}`);
    return musicLmLayout(nQ, groupBy);
  },
};

/**
 * Codebook q runs `delays[q]` steps behind; the first `flattenFirst` timesteps are written one codebook at a time;
 * `emptyInitial` more steps of special tokens at the beginning, or none at all for -1.
 */
function delayLayout(delays: number[], flattenFirst: number, emptyInitial: number): LayoutOf {
  return (timesteps) => {
    const layout: Layout = range(emptyInitial + 1).map(() => []);
    for (let t = 0; t < Math.min(timesteps, flattenFirst); t++) {
      for (const q of delays.keys()) layout.push([{ t, q }]);
    }
    for (let t = flattenFirst; t < timesteps + Math.max(...delays); t++) {
      layout.push(cellsAt(t, delays).filter((cell) => cell.t >= flattenFirst));
    }
    return layout;
  };
}

/**
 * Each timestep takes several inner steps: codebook q is written in inner step `flattening[q]`, `delays[q]` timesteps late.
 * Codebooks of one inner step share one delay.
 */
function unrollLayout(options: Options, nQ: number): LayoutOf {
  const flattening = options.ascending("flattening", nQ, range(nQ));
  const delays = options.ascending("delays", nQ, new Array(nQ).fill(0));
  const innerSteps = range(Math.max(...flattening) + 1).map((inner) =>
    range(nQ).filter((q) => flattening[q] === inner),
  );
  for (const codebooks of innerSteps) {
    if (new Set(codebooks.map((q) => delays[q])).size > 1) {
      throw options.error(
        "delays",
        `codebooks ${codebooks.join(", ")} share an inner step and need the same delay`,
      );
    }
  }
  return (timesteps) => {
    const layout = range(timesteps + Math.max(...delays)).flatMap((step) =>
      innerSteps
        .map((codebooks) => codebooks.map((q) => ({ t: step - delays[q], q })))
        .filter((cells) => cells.every((cell) => cell.t >= 0))
        // the order within one step: steps without a codebook, then the most delayed codebooks
        .sort((a, b) => (a[0]?.t ?? -1) - (b[0]?.t ?? -1)),
    );
    return [[], ...layout];
  };
}

/** The whole of codebook 0 first, then the others together, codebook q with `delays[q - 1]`. */
function coarseFirstLayout(delays: number[]): LayoutOf {
  return (timesteps) => [
    [],
    ...range(timesteps).map((t) => [{ t, q: 0 }]),
    ...range(timesteps + Math.max(...delays)).map((step) =>
      cellsAt(step, delays).map(({ t, q }) => ({ t, q: q + 1 })),
    ),
  ];
}

/** Codebooks in groups, one group after the other, each flattened (MusicLM, arXiv 2301.11325). */
function musicLmLayout(nQ: number, groupBy: number): LayoutOf {
  return (timesteps) => [
    [],
    ...range(nQ / groupBy).flatMap((group) =>
      range(timesteps).flatMap((t) => range(groupBy).map((i) => [{ t, q: group * groupBy + i }])),
    ),
  ];
}

function cellsAt(step: number, delays: number[]): Cell[] {
  return delays.map((delay, q) => ({ t: step - delay, q })).filter((cell) => cell.t >= 0);
}

/** Patterns by number of timesteps, the 100 most recently used. */
function cached(nQ: number, layoutOf: LayoutOf): PatternProvider {
  const patterns = new Map<number, Pattern>();
  return {
    nQ,
    getPattern(timesteps) {
      const pattern = patterns.get(timesteps) ?? new Pattern(layoutOf(timesteps), timesteps, nQ);
      patterns.delete(timesteps);
      patterns.set(timesteps, pattern);
      if (patterns.size > 100) patterns.delete(patterns.keys().next().value!);
      return pattern;
    },
  };
}

/** The options of one pattern's section, checked as they are read. */
class Options {
  private readonly section: string;
  private readonly values: Record<string, unknown>;

  constructor(section: string, values: Record<string, unknown>) {
    this.section = section;
    this.values = values;
  }

  /** Refuses every option that is not named here. */
  allow(...names: string[]): void {
    for (const name of Object.keys(this.values)) {
      if (!names.includes(name)) throw this.error(name, `unknown option; known: ${names.join(", ")}`);
    }
  }

  /** An integer of at least `minimum`; null means the default. */
  integer(name: string, byDefault: number, minimum: number): number {
    const value = this.values[name] ?? byDefault;
    if (!Number.isInteger(value) || (value as number) < minimum) {
      throw this.error(name, `an integer of at least ${minimum} expected, got ${JSON.stringify(value)}`);
    }
    return value as number;
  }

  /** `length` non-negative integers in ascending order; null means the default. */
  ascending(name: string, length: number, byDefault: number[]): number[] {
    const value = this.values[name] ?? byDefault;
    if (!Array.isArray(value) || !value.every((delay) => Number.isInteger(delay) && delay >= 0)) {
      throw this.error(name, `a list of integers >= 0 expected, got ${JSON.stringify(value)}`);
    }
    if (value.length !== length) {
      throw this.error(name, `${length} entries expected for the number of codebooks, got ${value.length}`);
    }
    if (value.some((delay, i) => i > 0 && delay < value[i - 1])) {
      throw this.error(name, `must be in ascending order, got ${JSON.stringify(value)}`);
    }
    return value;
  }

  error(name: string, message: string): UserError {
    return new UserError(`codebooks_pattern.${this.section}.${name}: ${message}`);
  }
}

function range(n: number): number[] {
  return Array.from({ length: Math.max(0, n) }, (_, i) => i);
}
