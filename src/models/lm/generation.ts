/**
 * Autoregressive generation: a pattern's sequence is filled step by step, with cached keys and values and classifier-free
 * guidance (MusicGen, arXiv 2306.05284).
 *
 * What is known at the beginning (conditions, a prompt) goes through the transformer in one call. From then on a whole step,
 * from the tokens before to the tokens drawn, is the body of one loop inside TensorFlow (`DecodingLoop`), which comes back now
 * and then, for progress, for frames to be heard, and to be stopped. One trace serves all lengths up to its capacity.
 */
import { setImmediate } from "node:timers/promises";
import { UserError } from "../../errors.ts";
import type { PreparedConditions } from "../conditioners/provider.ts";
import { DecodingLoop, UNKNOWN } from "./decoding_loop.ts";
import { columns, FrameProgress } from "./frames.ts";
import { type Guidance, rowCopies } from "./guidance.ts";
import type { MusicGenLM } from "./lm.ts";
import { Prefill } from "./prefill.ts";
import type { SamplingOptions } from "./sampling.ts";

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
  /** Called for every step with the steps done and their total, several in a row; throwing stops the generation. */
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

/** How long the loop runs by itself: progress is shown and signals are heard about this often. */
const SECONDS_PER_RUN = 0.2;
const MOST_STEPS_PER_RUN = 50;

export class Generator {
  private readonly lm: MusicGenLM;
  private readonly prefill: Prefill;
  private readonly loop: DecodingLoop;

  constructor(lm: MusicGenLM) {
    if (!lm.config.causal) throw new UserError("generation needs transformer_lm.causal=true");
    this.lm = lm;
    this.prefill = new Prefill(lm);
    this.loop = new DecodingLoop(lm);
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
    const codes = new Int32Array(batch * nQ * frames).fill(UNKNOWN);
    if (options.prompt) {
      for (let row = 0; row < batch * nQ; row++) {
        codes.set(options.prompt.codes.subarray(row * promptFrames, (row + 1) * promptFrames), row * frames);
      }
    }
    const sequence = pattern.buildSequence(codes, [batch, nQ, frames], this.lm.specialToken);
    const { length } = sequence;
    const start = pattern.firstStepWithTimestep(promptFrames)!;

    const { use_sampling, temp, top_k, top_p, seed } = options;
    const rows = batch * rowCopies[conditions.guidance];
    const total = this.lm.fuser.addsToSteps ? pattern.length(true) : null;
    const removed = options.removePrompts ? promptFrames : 0;
    const progress = new FrameProgress(pattern, length, removed);
    const known = Math.max(1, start - 1); // the last known step is the loop's first
    const begun = this.prefill.run(
      columns(sequence.codes, batch * nQ, length, 0, known),
      [batch, nQ, known],
      conditions,
      total,
    );
    try {
      const decoding = this.loop.begin(begun, {
        sequence,
        batch,
        rows,
        total,
        guidance: conditions.guidance,
        sampling: { use_sampling, temp, top_k, top_p },
        cfgCoef: options.cfgCoef,
        cfgCoefBeta: options.cfgCoefBeta ?? 1,
        seeds: typeof seed === "number" ? Array.from({ length: batch }, (_, row) => seed + row) : [...seed],
      });
      try {
        let secondsPerStep = Number.POSITIVE_INFINITY;
        for (let offset = start; offset < length; ) {
          const wanted = options.framesPerChunk ?? 1;
          const until = options.onFrames ? progress.stepThatCompletes(wanted) + 1 : length;
          const steps = Math.max(
            1,
            Math.min(MOST_STEPS_PER_RUN, Math.floor(SECONDS_PER_RUN / secondsPerStep)),
          );
          const end = Math.max(offset + 1, Math.min(length, until, offset + steps));
          const began = performance.now();
          sequence.codes = decoding.run(offset, end);
          secondsPerStep = (performance.now() - began) / 1000 / (end - offset);
          for (; offset < end; offset++) {
            const enough = offset === length - 1 ? 1 : wanted;
            if (options.onFrames && progress.advance(offset) >= enough) {
              const { codes, frames, firstFrame } = progress.take(sequence.codes);
              await options.onFrames(codes, frames, firstFrame);
            }
            options.onStep?.(offset - start + 1, length - start);
          }
          await setImmediate(); // lets signals and timers in
        }
      } finally {
        decoding.end();
      }
    } finally {
      begun.dispose();
    }
    const out = pattern.revertSequence(sequence.codes, [batch, nQ, length], UNKNOWN);
    return { codes: columns(out.codes, batch * nQ, frames, removed, frames), frames: frames - removed };
  }

  /** Frees the traced functions; the model stays. */
  dispose(): void {
    this.prefill.dispose();
    this.loop.dispose();
  }
}
