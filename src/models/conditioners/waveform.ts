/** Conditioners of waveforms: features of the audio, which are not trained, and a trained projection. */
import type { WavBatch } from "../../data/conditioning.ts";
import { UserError } from "../../errors.ts";
import { Conditioner, type ConditionTensors, type PreparedCondition } from "./base.ts";

export abstract class WaveformConditioner extends Conditioner<"wav"> {
  readonly kind = "wav";

  override forward(prepared: PreparedCondition): ConditionTensors {
    return this.project(prepared.input, prepared);
  }
}

/** The sample rate of a batch. @throws UserError when its rows have several */
export function rateOf({ sampleRates }: WavBatch): number {
  const [rate] = sampleRates;
  const other = sampleRates.find((one) => one !== rate);
  if (other === undefined) return rate;
  throw new UserError(`waveform conditions of one batch have different sample rates: ${rate}, ${other}`);
}

/**
 * Masks float32 [B * frames] of rows whose valid samples, at `sampleRate`, make up the first frames of `hop` samples each.
 */
export function lengthMask(batch: WavBatch, frames: number, sampleRate: number, hop: number): Float32Array {
  const mask = new Float32Array(batch.lengths.length * frames);
  for (const [row, length] of batch.lengths.entries()) {
    const valid = Math.ceil((length * sampleRate) / batch.sampleRates[row] / hop);
    mask.fill(1, row * frames, row * frames + Math.min(valid, frames));
  }
  return mask;
}
