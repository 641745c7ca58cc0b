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
import type { PreparedConditions } from "../conditioners/provider.ts";
import type { MusicGenLM } from "./lm.ts";
import { type SamplingOptions, sampleToken } from "./sampling.ts";
import type { KeyValues, StreamingState } from "./transformer.ts";

export interface GenerationOptions extends SamplingOptions {
  /** Frames to generate, prompt included. */
  maxGenLen: number;
  /** Guidance: logits = unconditional + (conditional - unconditional) cfgCoef. */
  cfgCoef: number;
  seed: number;
  /** int32 [B, K, T0] to continue from. */
  prompt?: { codes: Int32Array; frames: number } | null;
  removePrompts?: boolean;
  /** Called after every step with the steps done and their total; throwing stops the generation. */
  onStep?: (done: number, total: number) => void;
}

/**
 * Conditions that run together: B rows without guidance, 2B rows with the null conditions after the others (joint), or the
 * two halves on their own (two-step, where padding is as in training).
 */
export interface ConditionStreams {
  guidance: "none" | "joint" | "two-step";
  streams: PreparedConditions[];
}

const blockSize = 64;

interface Draw {
  seed: Tensor;
  cfgCoef: Tensor;
  guidance: ConditionStreams["guidance"];
  sampling: SamplingOptions;
}

interface StepResult {
  token: Tensor;
  recent: KeyValues[][];
}

export class Generator {
  private readonly lm: MusicGenLM;
  private readonly prefill: Jitted<
    [Tensor[], PreparedConditions[], Draw],
    StepResult & { states: StreamingState[] }
  >;
  private readonly step: Jitted<[Tensor[], Tensor, Tensor, StreamingState[], Draw], StepResult>;

  constructor(lm: MusicGenLM) {
    if (!lm.config.causal) throw new UserError("generation needs transformer_lm.causal=true");
    for (const name of lm.fuser.names) {
      const unstreamed = lm.fuser
        .methodsOf(name)
        .find((method) => method === "sum" || method === "input_interpolate");
      if (unstreamed)
        throw new UserError(
          `generation with fuser.${unstreamed}=[${name}] is not built; use cross or prepend`,
        );
    }
    this.lm = lm;
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
    const total = sequence.length - start;

    const { use_sampling, temp, top_k, top_p } = options;
    const sampling = { use_sampling, temp, top_k, top_p };
    let states: StreamingState[] = [];
    let slot = 0;
    let position = 0;
    try {
      for (let offset = start; offset < sequence.length; offset++) {
        const from = offset === start ? 0 : offset - 1;
        const previous = states;
        const token = scoped(() => {
          const values = columns(sequence.codes, batch * nQ, sequence.length, from, offset);
          const tokens = tf.tensor3d(values, [batch, nQ, offset - from], "int32") as Tensor;
          const inputs = conditions.streams.map(() =>
            conditions.guidance === "joint" ? tf.concat([tokens, tokens], 0) : tokens,
          );
          const draw: Draw = {
            seed: tf.tensor1d([options.seed, offset], "int32"),
            cfgCoef: tf.scalar(options.cfgCoef),
            guidance: conditions.guidance,
            sampling,
          };
          let result: StepResult;
          if (offset === start) {
            const first = this.prefill(inputs, conditions.streams, draw);
            states = first.states;
            position = (states[0].past[0].keys.shape[2] as number) - 1;
            result = first;
          } else {
            result = this.step(
              inputs,
              tf.scalar(++position, "int32"),
              tf.scalar(slot++, "int32"),
              states,
              draw,
            );
            states = states.map((state, i) => ({ ...state, recent: result.recent[i] }));
            if (slot === blockSize) {
              states = states.map(settle);
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
        options.onStep?.(offset - start + 1, total);
        await setImmediate(); // lets signals and timers in
      }
    } finally {
      disposeExcept(states, []);
    }
    const out = pattern.revertSequence(sequence.codes, [batch, nQ, sequence.length], unknown);
    const dropped = options.removePrompts ? promptFrames : 0;
    return { codes: columns(out.codes, batch * nQ, frames, dropped, frames), frames: frames - dropped };
  }

  /** The first call: everything up to the first unknown step, prepended conditions included. */
  private runPrefill(tokens: Tensor[], conditions: PreparedConditions[], draw: Draw) {
    const { transformer, fuser, conditionProvider } = this.lm;
    const logits: Tensor[] = [];
    const states = tokens.map((sequence, i): StreamingState => {
      const { input, cross } = fuser.fuse(this.lm.embed(sequence), conditionProvider.forward(conditions[i]));
      const past: KeyValues[] = [];
      const y = transformer.forward(input, cross, past);
      logits.push(this.lm.heads(lastStep(y)));
      return {
        past,
        recent: past.map(emptyBlock),
        cross: cross ? transformer.crossKeyValues(cross.source) : [],
        crossBias: cross ? tf.clone(cross.bias) : null, // its own, to be disposed of with the state
      };
    });
    return { token: this.draw(logits, draw), states, recent: states.map(({ recent }) => recent) };
  }

  private runStep(
    tokens: Tensor[],
    position: Tensor,
    slot: Tensor,
    states: StreamingState[],
    draw: Draw,
  ): StepResult {
    const logits: Tensor[] = [];
    const recent = states.map((state, i) => {
      const result = this.lm.transformer.step(this.lm.embed(tokens[i]), position.toFloat(), slot, state);
      logits.push(this.lm.heads(result.y));
      return result.recent;
    });
    return { token: this.draw(logits, draw), recent };
  }

  /** Guided logits of the last step -> token int32 [B, K]. */
  private draw(streams: Tensor[], { guidance, cfgCoef, sampling, seed }: Draw): Tensor {
    const [conditional, unconditional] = guidance === "joint" ? tf.split(streams[0], 2, 0) : streams;
    const logits =
      guidance === "none"
        ? conditional
        : tf.add(unconditional, tf.mul(tf.sub(conditional, unconditional), cfgCoef));
    return sampleToken(tf.squeeze(logits, [2]), sampling, seed); // [B, K, 1, card] -> [B, K]
  }
}

/** Appends the full block of recent steps to the past. */
function settle(state: StreamingState): StreamingState {
  const past = state.past.map(({ keys, values }, layer) => ({
    keys: tf.concat([keys, state.recent[layer].keys], 2),
    values: tf.concat([values, state.recent[layer].values], 2),
  }));
  return { ...state, past, recent: state.recent.map(emptyBlock) };
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

function tensorsOf(states: StreamingState[]): Tensor[] {
  return states.flatMap(({ past, recent, cross, crossBias }) => [
    ...[...past, ...recent, ...cross].flatMap(({ keys, values }) => [keys, values]),
    ...(crossBias ? [crossBias] : []),
  ]);
}

function keepAll(states: StreamingState[]): void {
  for (const tensor of tensorsOf(states)) tf.keep(tensor);
}

function disposeExcept(states: StreamingState[], kept: StreamingState[]): void {
  const keep = new Set(tensorsOf(kept));
  for (const tensor of tensorsOf(states)) if (!keep.has(tensor) && !tensor.isDisposed) tensor.dispose();
}
