/**
 * Autoregressive generation: a pattern's sequence is filled step by step, with cached keys and values and classifier-free
 * guidance (MusicGen, arXiv 2306.05284).
 *
 * Self-attention keeps its settled past in tensors of fixed length and the recent steps in a block that is filled in place
 * of zeros; a full block is appended to the past. So a step costs what its length costs, and is retraced once a block.
 */
import { setImmediate } from "node:timers/promises";
import { UserError } from "../../errors.ts";
import { type Jitted, jit, scoped, type Tensor, tf } from "../../runtime/index.ts";
import type { ConditionTensors } from "../conditioners/base.ts";
import type { PreparedConditions } from "../conditioners/provider.ts";
import type { KeyValues } from "./attention.ts";
import { FrameProgress } from "./frames.ts";
import { type Guidance, guided, rowCopies } from "./guidance.ts";
import type { MusicGenLM } from "./lm.ts";
import { type SamplingOptions, sampleToken } from "./sampling.ts";
import type { StreamingState } from "./transformer.ts";

export interface GenerationOptions extends SamplingOptions {
  /** Frames to generate, prompt included. */
  maxGenLen: number;
  /** Guidance: logits = unconditional + (conditional - unconditional) cfgCoef. */
  cfgCoef: number;
  /** Double guidance: how far the text pulls away from the audio condition alone (arXiv 2407.12563's beta); 1 by default. */
  cfgCoefBeta?: number;
  /** One per row: what is drawn for a row depends on its seed alone. A number is that of the first, the others count up. */
  seed: number | readonly number[];
  /** int32 [B, K, T0] to continue from. */
  prompt?: { codes: Int32Array; frames: number } | null;
  removePrompts?: boolean;
  /** Called after every step with the steps done and their total; throwing stops the generation. */
  onStep?: (done: number, total: number) => void;
  /**
   * Called with codes int32 [B, K, n] of the frames that were completed since the last call, when there are
   * `framesPerChunk` (1) or more, and once more at the end; the generation waits for the promise that it returns.
   * `firstFrame` counts in the codes that `generate` returns.
   */
  onFrames?: (codes: Int32Array, frames: number, firstFrame: number) => void | Promise<void>;
  framesPerChunk?: number;
}

/** Conditions that run together. */
export interface ConditionStreams {
  guidance: Guidance;
  /** Two of "two-step", else one. */
  streams: PreparedConditions[];
}

const blockSize = 64;

interface Draw {
  /** int32 [B, 2] */
  seeds: Tensor;
  cfgCoef: Tensor;
  cfgCoefBeta: Tensor;
  guidance: Guidance;
  sampling: SamplingOptions;
}

interface StepResult {
  token: Tensor;
  recent: KeyValues[][];
}

interface Prefilled extends StepResult {
  states: StreamState[];
  /** How many steps the conditions of each stream put before the sequence. */
  prefixLengths: number[];
}

/** What one stream remembers between steps. */
interface StreamState extends StreamingState {
  /** The conditions that have a part in the input of every step. */
  conditions: Record<string, ConditionTensors>;
}

/** Where a step is. */
interface Place {
  /** int32 scalars: of the step, in the sequence; in each stream, with its prefix before it; in the block of recent steps. */
  step: Tensor;
  positions: Tensor[];
  slot: Tensor;
  /** Steps of the sequence that the model is trained on, when conditions have to be laid along them. */
  total: number | null;
}

export class Generator {
  private readonly lm: MusicGenLM;
  /** Whether conditions have a part in the input of every step. */
  private readonly addsConditions: boolean;
  private readonly prefill: Jitted<[Tensor[], PreparedConditions[], number | null, Draw], Prefilled>;
  private readonly step: Jitted<[Tensor[], Place, StreamState[], Draw], StepResult>;

  constructor(lm: MusicGenLM) {
    if (!lm.config.causal) throw new UserError("generation needs transformer_lm.causal=true");
    this.lm = lm;
    this.addsConditions = lm.fuser.names.some((name) =>
      lm.fuser.methodsOf(name).some((method) => method === "sum" || method === "input_interpolate"),
    );
    this.prefill = jit((...args) => this.runPrefill(...args), { name: "prefill" });
    this.step = jit((...args) => this.runStep(...args), { name: "generate_step" });
  }

  /** Generates codes int32 [B, K, frames] (row-major) for B rows. */
  async generate(conditions: ConditionStreams, batch: number, options: GenerationOptions) {
    const { n_q: nQ } = this.lm.config;
    const frames = options.maxGenLen;
    const promptFrames = options.prompt?.frames ?? 0;
    if (promptFrames >= frames) {
      throw new UserError(
        `the prompt has ${promptFrames} frames, as many as or more than the ${frames} to generate`,
      );
    }
    const pattern = this.lm.patterns.getPattern(frames);
    const unknown = -1;
    const codes = new Int32Array(batch * nQ * frames).fill(unknown);
    if (options.prompt) {
      for (let row = 0; row < batch * nQ; row++) {
        codes.set(options.prompt.codes.subarray(row * promptFrames, (row + 1) * promptFrames), row * frames);
      }
    }
    const special = this.lm.specialToken;
    const sequence = pattern.buildSequence(codes, [batch, nQ, frames], special);
    const start = pattern.firstStepWithTimestep(promptFrames)!;
    const stepCount = sequence.length - start;

    const { use_sampling, temp, top_k, top_p } = options;
    const sampling = { use_sampling, temp, top_k, top_p };
    const { seed } = options;
    const seeds = typeof seed === "number" ? Array.from({ length: batch }, (_, row) => seed + row) : seed;
    const total = this.addsConditions ? pattern.length(true) : null;
    const removed = options.removePrompts ? promptFrames : 0;
    const progress = new FrameProgress(pattern, sequence.length, removed);
    let states: StreamState[] = [];
    let slot = 0;
    let prefixLengths: number[] = [];
    try {
      for (let offset = start; offset < sequence.length; offset++) {
        const from = offset === start ? 0 : offset - 1;
        const previous = states;
        const token = scoped(() => {
          const values = columns(sequence.codes, batch * nQ, sequence.length, from, offset);
          const tokens = tf.tensor3d(values, [batch, nQ, offset - from], "int32") as Tensor;
          const copies = rowCopies[conditions.guidance];
          const rows = copies === 1 ? tokens : tf.concat(new Array<Tensor>(copies).fill(tokens), 0);
          const inputs = conditions.streams.map(() => rows);
          const draw: Draw = {
            seeds: tf.tensor2d(
              seeds.flatMap((seed) => [seed, offset]),
              [batch, 2],
              "int32",
            ),
            cfgCoef: tf.scalar(options.cfgCoef),
            cfgCoefBeta: tf.scalar(options.cfgCoefBeta ?? 1),
            guidance: conditions.guidance,
            sampling,
          };
          let result: StepResult;
          if (offset === start) {
            const first = this.prefill(inputs, conditions.streams, total, draw);
            ({ states, prefixLengths } = first);
            result = first;
          } else {
            const place: Place = {
              step: tf.scalar(from, "int32"),
              positions: prefixLengths.map((prefix) => tf.scalar(prefix + from, "int32") as Tensor),
              slot: tf.scalar(slot++, "int32"),
              total,
            };
            result = this.step(inputs, place, states, draw);
            states = states.map((state, i) => ({ ...state, recent: result.recent[i] }));
            if (slot === blockSize) {
              states = states.map((state) => this.settle(state));
              slot = 0;
            }
          }
          keepAll(states);
          return result.token.dataSync() as Int32Array;
        });
        disposeExcept(previous, states);
        for (let row = 0; row < batch * nQ; row++) {
          const cell = row * sequence.length + offset;
          const inPattern = sequence.mask[(row % nQ) * sequence.length + offset] === 1;
          if (sequence.codes[cell] === unknown) sequence.codes[cell] = inPattern ? token[row] : special;
        }
        const enough = offset === sequence.length - 1 ? 1 : (options.framesPerChunk ?? 1);
        if (options.onFrames && progress.advance(offset) >= enough) {
          const { codes, frames, firstFrame } = progress.take(sequence.codes);
          await options.onFrames(codes, frames, firstFrame);
        }
        options.onStep?.(offset - start + 1, stepCount);
        await setImmediate(); // lets signals and timers in
      }
    } finally {
      disposeExcept(states, []);
    }
    const out = pattern.revertSequence(sequence.codes, [batch, nQ, sequence.length], unknown);
    return { codes: columns(out.codes, batch * nQ, frames, removed, frames), frames: frames - removed };
  }

  /** Frees the traced functions; the model stays. */
  dispose(): void {
    this.prefill.dispose();
    this.step.dispose();
  }

  /** The first call: everything up to the first unknown step, prepended conditions included. */
  private runPrefill(
    tokens: Tensor[],
    conditions: PreparedConditions[],
    total: number | null,
    draw: Draw,
  ): Prefilled {
    const { transformer, fuser, conditionProvider } = this.lm;
    const logits: Tensor[] = [];
    const prefixLengths: number[] = [];
    const states = tokens.map((sequence, i): StreamState => {
      const embedded = conditionProvider.forward(conditions[i]);
      const window = total === null ? undefined : { offset: tf.scalar(0, "int32") as Tensor, total };
      const fused = fuser.fuse(this.lm.embed(sequence), embedded, { window });
      const { input, cross } = fused;
      prefixLengths.push(fused.prefixLength);
      const past: KeyValues[] = [];
      const y = transformer.forward(input, cross, past);
      logits.push(this.lm.heads(lastStep(y)));
      return {
        past: past.map((layer) => this.inReach(layer)),
        recent: past.map(emptyBlock),
        cross: cross ? transformer.crossKeyValues(cross.source) : [],
        crossBias: cross?.bias ? tf.clone(cross.bias) : null, // its own, to be disposed of with the state
        conditions: total === null ? {} : copied(embedded),
      };
    });
    const token = this.draw(logits, draw);
    return { token, states, recent: states.map(({ recent }) => recent), prefixLengths };
  }

  private runStep(
    tokens: Tensor[],
    { step, positions, slot, total }: Place,
    states: StreamState[],
    draw: Draw,
  ): StepResult {
    const { transformer, fuser } = this.lm;
    const logits: Tensor[] = [];
    const recent = states.map((state, i) => {
      const embedded = this.lm.embed(tokens[i]);
      const input =
        total === null
          ? embedded
          : fuser.fuse(embedded, state.conditions, { first: false, window: { offset: step, total } }).input;
      const result = transformer.step(input, positions[i], slot, state);
      logits.push(this.lm.heads(result.y));
      return result.recent;
    });
    return { token: this.draw(logits, draw), recent };
  }

  /** Guided logits of the last step -> token int32 [B, K]. */
  private draw(streams: Tensor[], { guidance, cfgCoef, cfgCoefBeta, sampling, seeds }: Draw): Tensor {
    const rows = rowCopies[guidance];
    const parts = rows === 1 ? streams : tf.split(streams[0], rows, 0);
    const logits = guided(parts, cfgCoef, cfgCoefBeta);
    return sampleToken(tf.squeeze(logits, [2]), sampling, seeds); // [B, K, 1, card] -> [B, K]
  }

  /** Appends the full block of recent steps to the past. */
  private settle(state: StreamState): StreamState {
    const past = state.past.map(({ keys, values }, layer) =>
      this.inReach({
        keys: tf.concat([keys, state.recent[layer].keys], 2),
        values: tf.concat([values, state.recent[layer].values], 2),
      }),
    );
    return { ...state, past, recent: state.recent.map(emptyBlock) };
  }

  /** The steps that later ones still attend to, all unless there is a `past_context`. */
  private inReach({ keys, values }: KeyValues): KeyValues {
    const [batch, heads, length, headDim] = keys.shape as [number, number, number, number];
    const reach = Math.min(length, this.lm.config.past_context ?? length);
    if (reach === length) return { keys, values };
    const last = (x: Tensor) =>
      tf.slice(x, [0, 0, length - reach, 0], [batch, heads, reach, headDim]) as Tensor;
    return { keys: last(keys), values: last(values) };
  }
}

/** Copies, which are disposed of with the state that they are put in. */
function copied(conditions: Record<string, ConditionTensors>): Record<string, ConditionTensors> {
  const entries = Object.entries(conditions).map(([name, { embedding, mask, crossBias }]) => [
    name,
    { embedding: tf.clone(embedding), mask: tf.clone(mask), crossBias: tf.clone(crossBias) },
  ]);
  return Object.fromEntries(entries);
}

function emptyBlock({ keys }: KeyValues): KeyValues {
  const [batch, heads, , headDim] = keys.shape as [number, number, number, number];
  const zeros = () => tf.zeros([batch, heads, blockSize, headDim]);
  return { keys: zeros(), values: zeros() };
}

/** Columns [from, to) of `rows` rows of `length` values. */
export function columns(
  values: Int32Array,
  rows: number,
  length: number,
  from: number,
  to: number,
): Int32Array {
  const out = new Int32Array(rows * (to - from));
  for (let row = 0; row < rows; row++) {
    out.set(values.subarray(row * length + from, row * length + to), row * (to - from));
  }
  return out;
}

function lastStep(y: Tensor): Tensor {
  const [batch, length, dim] = y.shape as [number, number, number];
  return tf.slice(y, [0, length - 1, 0], [batch, 1, dim]);
}

function tensorsOf(states: StreamState[]): Tensor[] {
  return states.flatMap(({ past, recent, cross, crossBias, conditions }) => [
    ...[...past, ...recent, ...cross].flatMap(({ keys, values }) => [keys, values]),
    ...(crossBias ? [crossBias] : []),
    ...Object.values(conditions).flatMap(({ embedding, mask, crossBias }) => [embedding, mask, crossBias]),
  ]);
}

function keepAll(states: StreamState[]): void {
  for (const tensor of tensorsOf(states)) tf.keep(tensor);
}

function disposeExcept(states: StreamState[], kept: StreamState[]): void {
  const keep = new Set(tensorsOf(kept));
  for (const tensor of tensorsOf(states)) if (!keep.has(tensor) && !tensor.isDisposed) tensor.dispose();
}
