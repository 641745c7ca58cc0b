/** Generation of any length: windows of the trained duration, each prompted with the end of the one before. */
import { tf } from "../../runtime/index.ts";
import { columns } from "../lm/frames.ts";
import type { ConditionStreams, Generator } from "../lm/generation.ts";
import type { SamplingOptions } from "../lm/sampling.ts";

export interface Codes {
  /** int32 [B, K, frames], row-major */
  codes: Int32Array;
  frames: number;
}

export interface WindowsRequest {
  batch: number;
  /** Codebooks. */
  nQ: number;
  /** Frames to have in the end, prompt included. */
  total: number;
  /** Frames of a window, and those by which each goes on after the one before. */
  window: number;
  stride: number;
  prompt: Codes | null;
  sampling: SamplingOptions;
  cfgCoef: number;
  cfgCoefBeta: number | null;
  /** One per row. */
  seeds: readonly number[];
  /** The conditions of the window that begins at a frame. They are disposed of here. */
  conditions: (firstFrame: number) => Promise<ConditionStreams>;
  /** Whether those of the first window stand for all. */
  sameConditions: boolean;
  /** Called after every step. */
  onStep: (framesDone: number) => void;
  /** Is given all frames, the prompt's included, in order and in pieces of about `framesPerChunk`, as they are made. */
  onFrames?: (piece: Codes) => void | Promise<void>;
  framesPerChunk?: number;
}

/** Codes of `total` frames. */
export async function generateWindows(generator: Generator, request: WindowsRequest): Promise<Int32Array> {
  const { batch, nQ, total, window, stride, prompt } = request;
  const rows = batch * nQ;
  const out = new Int32Array(rows * total);
  let made = 0;
  /** Takes frames from `first` on, of which those that are there already are left out. */
  const take = async (codes: Int32Array, frames: number, first: number, announce: boolean) => {
    const known = made - first;
    if (known < 0) throw new Error(`frames ${made} to ${first} were left out`);
    if (known >= frames) return;
    const piece = columns(codes, rows, frames, known, frames);
    for (let row = 0; row < rows; row++)
      out.set(piece.subarray(row * (frames - known), (row + 1) * (frames - known)), row * total + made);
    made = first + frames;
    if (announce) await request.onFrames?.({ codes: piece, frames: frames - known });
  };
  if (prompt) await take(prompt.codes, prompt.frames, 0, true);

  let conditions: ConditionStreams | null = null;
  try {
    // a prompt of a window or more leaves its end as the prompt of the first
    let offset = made < window ? 0 : made - (window - stride);
    for (let index = 0; made < total; index++) {
      if (!conditions || !request.sameConditions) {
        tf.dispose((conditions?.streams ?? []) as never);
        conditions = null;
        conditions = await request.conditions(offset);
      }
      const length = Math.min(window, total - offset);
      const start = offset;
      const { codes } = await generator.generate(conditions, batch, {
        ...request.sampling,
        cfgCoef: request.cfgCoef,
        cfgCoefBeta: request.cfgCoefBeta ?? undefined,
        maxGenLen: length,
        seed: request.seeds.map((seed) => windowSeed(seed, index)),
        prompt:
          made > offset ? { codes: columns(out, rows, total, offset, made), frames: made - offset } : null,
        onStep: (done, steps) => request.onStep(start + Math.floor((length * done) / steps)),
        onFrames: request.onFrames && ((piece, frames, first) => take(piece, frames, start + first, true)),
        framesPerChunk: request.framesPerChunk,
      });
      await take(codes, length, offset, true);
      offset += stride;
    }
  } finally {
    tf.dispose((conditions?.streams ?? []) as never);
  }
  return out;
}

/** The first window has the seed itself, later ones others, which no row of a batch shares (its seeds count up by one). */
function windowSeed(seed: number, index: number): number {
  return index === 0 ? seed : Math.imul(seed ^ Math.imul(index, 0x9e3779b1), 0x85ebca6b) >>> 1;
}
