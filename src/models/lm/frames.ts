/**
 * Which frames of a sequence that is being generated are complete, so that they can be played before the rest is there, and how some
 * of them are cut out.
 */
import type { Pattern } from "./pattern.ts";

export class FrameProgress {
  private readonly pattern: Pattern;
  private readonly sequenceLength: number;
  private readonly origin: number;
  /** For each frame, the step that writes the last of its codebooks. */
  private readonly lastSteps: Int32Array;
  private taken: number;
  private complete: number;

  /** Frames before `origin` are not wanted. */
  constructor(pattern: Pattern, sequenceLength: number, origin: number) {
    this.pattern = pattern;
    this.sequenceLength = sequenceLength;
    this.origin = origin;
    this.taken = origin;
    this.complete = origin;
    this.lastSteps = new Int32Array(pattern.timesteps);
    for (const [step, cells] of pattern.layout.entries()) {
      for (const { t } of cells) if (t < pattern.timesteps) this.lastSteps[t] = step;
    }
  }

  /** After `step` was written: how many frames are complete and not taken yet. */
  advance(step: number): number {
    const { lastSteps } = this;
    while (this.complete < lastSteps.length && lastSteps[this.complete] <= step) this.complete++;
    return this.complete - this.taken;
  }

  /** The step after which `frames` of them are complete and not taken yet; the last one when there are not so many more. */
  stepThatCompletes(frames: number): number {
    const last = Math.min(this.taken + frames, this.lastSteps.length);
    return this.lastSteps.subarray(this.taken, last).reduce((latest, step) => Math.max(latest, step), 0);
  }

  /** These frames, out of the sequence int32 [B, K, S]: codes int32 [B, K, frames]; `firstFrame` counts from the origin. */
  take(sequence: Int32Array): { codes: Int32Array; frames: number; firstFrame: number } {
    const { indexes, length } = this.pattern.revertIndexes(false, this.sequenceLength);
    const [from, frames] = [this.taken, this.complete - this.taken];
    const rows = sequence.length / this.sequenceLength;
    const codes = new Int32Array(rows * frames);
    for (let row = 0; row < rows; row++) {
      const cells = (row % this.pattern.nQ) * length + from;
      for (let i = 0; i < frames; i++) {
        codes[row * frames + i] = sequence[row * this.sequenceLength + indexes[cells + i]];
      }
    }
    this.taken = this.complete;
    return { codes, frames, firstFrame: from - this.origin };
  }
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
