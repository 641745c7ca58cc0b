/** One interleaving pattern: the sequence steps in which the cells of the codes are written, and the way back. */

/** One cell of the codes: timestep `t` of codebook `q`. */
export interface Cell {
  t: number;
  q: number;
}

/** For each sequence step, the cells that are written there. An empty step holds special tokens only. */
export type Layout = Cell[][];

/**
 * Where each output position takes its value from, codebook by codebook (row-major [K, length]).
 * A position with mask 0 has no source: it gets the special token, and its index is 0, so that a gather stays in range.
 */
export interface PatternIndexes {
  /** Int32 [K * length]: position along the source's last axis, in the same codebook. */
  indexes: Int32Array;
  /** [K * length]: 1 where the index counts. */
  mask: Uint8Array;
  length: number;
}

/** Codes [B, K, T] <-> sequence [B, K, S], by the layout of the S steps. */
export class Pattern {
  readonly layout: Layout;
  readonly timesteps: number;
  readonly nQ: number;
  /** How many steps at the end only finish delayed codebooks: max(t + 1) over the layout, minus the timesteps. */
  readonly maxDelay: number;
  /** The layout without its last `maxDelay` steps: what training runs on. */
  readonly validLayout: Layout;

  constructor(layout: Layout, timesteps: number, nQ: number) {
    this.layout = layout;
    this.timesteps = timesteps;
    this.nQ = nQ;
    checkLayout(layout, nQ);
    this.maxDelay = layout.slice(1).reduce(latestEnd, 0) - timesteps;
    this.validLayout = layout.slice(0, layout.length - this.maxDelay);
  }

  /** The number of steps that the model predicts. */
  get sequenceSteps(): number {
    return this.layout.length - 1;
  }

  /** Whether the sequence begins with a step of special tokens only (the beginning-of-sequence step). */
  get startsWithSpecialToken(): boolean {
    return this.layout[0].length === 0;
  }

  /** The number of steps of the sequence. */
  length(keepOnlyValidSteps = false): number {
    return this.steps(keepOnlyValidSteps).length;
  }

  /** The first sequence step that holds timestep `t` (of codebook `q`, when given), or null. */
  firstStepWithTimestep(t: number, q?: number): number | null {
    const step = this.layout.findIndex((cells) =>
      cells.some((cell) => cell.t === t && (q === undefined || cell.q === q)),
    );
    return step < 0 ? null : step;
  }

  /** codes -> sequence: for each (q, s) the timestep in [0, timesteps) to take. length = S. */
  sequenceIndexes(keepOnlyValidSteps = false, timesteps = this.timesteps): PatternIndexes {
    if (timesteps > this.timesteps) {
      throw new RangeError(`codes of ${timesteps} timesteps in a pattern made for ${this.timesteps}`);
    }
    const steps = this.steps(keepOnlyValidSteps);
    const out = emptyIndexes(this.nQ, steps.length);
    for (const [s, cells] of steps.entries()) {
      for (const { t, q } of cells) if (t < timesteps) setIndex(out, q, s, t);
    }
    return out;
  }

  /** sequence -> codes: for each (q, t) the step in [0, sequenceLength) to take. length = timesteps. */
  revertIndexes(
    keepOnlyValidSteps = false,
    sequenceLength = this.length(keepOnlyValidSteps),
  ): PatternIndexes {
    return this.stepsOfCells(this.steps(keepOnlyValidSteps), sequenceLength);
  }

  /**
   * logits [.., S, ..] -> logits of the codes: for each (q, t) the step whose logits predict it. length = timesteps.
   * The model's output at step s predicts step s + 1, so the layout counts from its second step; without a step of
   * special tokens at the beginning it is taken as it is.
   */
  revertLogitsIndexes(
    keepOnlyValidSteps = false,
    sequenceLength = this.length(keepOnlyValidSteps),
  ): PatternIndexes {
    const steps = this.steps(keepOnlyValidSteps);
    return this.stepsOfCells(this.startsWithSpecialToken ? steps.slice(1) : steps, sequenceLength);
  }

  /**
   * codes int32 [B, K, T] -> { codes [B, K, S], mask [K, S] }; positions without a code hold `special`, mask 0.
   * T may be shorter than the pattern's timesteps.
   */
  buildSequence(
    codes: Int32Array,
    shape: readonly [number, number, number],
    special: number,
    keepOnlyValidSteps = false,
  ): { codes: Int32Array; mask: Uint8Array; length: number } {
    const { indexes, mask, length } = this.sequenceIndexes(keepOnlyValidSteps, shape[2]);
    return { codes: gather(codes, shape, this.nQ, { indexes, mask, length }, special), mask, length };
  }

  /** sequence int32 [B, K, S] -> { codes [B, K, T], mask [K, T] }; cells that no step covers hold `special`, mask 0. */
  revertSequence(
    sequence: Int32Array,
    shape: readonly [number, number, number],
    special: number,
    keepOnlyValidSteps = false,
  ): { codes: Int32Array; mask: Uint8Array; length: number } {
    const { indexes, mask, length } = this.revertIndexes(keepOnlyValidSteps, shape[2]);
    return { codes: gather(sequence, shape, this.nQ, { indexes, mask, length }, special), mask, length };
  }

  private steps(keepOnlyValidSteps: boolean): Layout {
    return keepOnlyValidSteps ? this.validLayout : this.layout;
  }

  private stepsOfCells(steps: Layout, sequenceLength: number): PatternIndexes {
    const out = emptyIndexes(this.nQ, this.timesteps);
    for (const [s, cells] of steps.slice(0, sequenceLength).entries()) {
      for (const { t, q } of cells) if (t < this.timesteps) setIndex(out, q, t, s);
    }
    return out;
  }
}

/** A codebook is written at most once in a step, and never goes back in time. */
function checkLayout(layout: Layout, nQ: number): void {
  const lastTimestep = new Array(nQ).fill(-1);
  for (const [s, cells] of layout.entries()) {
    const codebooks = new Set(cells.map((cell) => cell.q));
    if (codebooks.size !== cells.length) throw new RangeError(`step ${s} writes a codebook twice`);
    for (const { t, q } of cells) {
      if (!(q >= 0 && q < nQ)) throw new RangeError(`step ${s} writes codebook ${q} of ${nQ}`);
      if (t < lastTimestep[q]) throw new RangeError(`step ${s} goes back in time in codebook ${q}`);
      lastTimestep[q] = t;
    }
  }
}

function latestEnd(end: number, cells: Cell[]): number {
  return cells.reduce((latest, cell) => Math.max(latest, cell.t + 1), end);
}

function emptyIndexes(nQ: number, length: number): PatternIndexes {
  return { indexes: new Int32Array(nQ * length), mask: new Uint8Array(nQ * length), length };
}

function setIndex(out: PatternIndexes, q: number, position: number, source: number): void {
  out.indexes[q * out.length + position] = source;
  out.mask[q * out.length + position] = 1;
}

/** source [B, K, N] -> [B, K, length] */
function gather(
  source: Int32Array,
  [batch, codebooks, sourceLength]: readonly [number, number, number],
  nQ: number,
  { indexes, mask, length }: PatternIndexes,
  special: number,
): Int32Array {
  if (codebooks !== nQ || source.length !== batch * codebooks * sourceLength) {
    throw new RangeError(
      `codes of shape [${batch}, ${codebooks}, ${sourceLength}] and ${source.length} values; the pattern has ${nQ} codebooks`,
    );
  }
  const out = new Int32Array(batch * nQ * length).fill(special);
  for (let row = 0; row < batch * nQ; row++) {
    const q = row % nQ;
    for (let i = 0; i < length; i++) {
      const cell = q * length + i;
      if (mask[cell]) out[row * length + i] = source[row * sourceLength + indexes[cell]];
    }
  }
  return out;
}
