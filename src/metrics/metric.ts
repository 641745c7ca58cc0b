/** What the quality of generated audio is measured with: clips come one after the other, then the figures are asked for. */
import { convertChannels } from "../data/audio/channels.ts";
import { resample } from "../data/audio/resample.ts";

/** A clip that was generated and the one that it is compared with: planar samples, as many of both. */
export interface ClipPair {
  generated: Float32Array[];
  reference: Float32Array[];
  sampleRate: number;
  /** Samples per channel before padding. */
  length: number;
  description: string | null;
}

/** Every metric is a mean over all clips (or frames, or a distance of all embeddings), not a mean of batches. */
export interface GenerationMetric {
  update(pair: ClipPair): Promise<void>;
  /** @throws UserError when there was nothing to measure */
  compute(): Record<string, number>;
  /** Frees its models. */
  dispose(): void;
}

/** The mean of the channels at another rate. */
export function mono(samples: Float32Array[], sampleRate: number, wanted: number): Float32Array {
  return resample(convertChannels(samples, 1), sampleRate, wanted)[0];
}

/** The samples that are no padding. */
export function unpadded(samples: Float32Array[], length: number): Float32Array[] {
  return samples.map((channel) => channel.subarray(0, length));
}

/** Consecutive pieces of `size` samples; the last one is what is left. */
export function pieces(wav: Float32Array, size: number): Float32Array[] {
  const count = Math.max(1, Math.ceil(wav.length / size));
  return Array.from({ length: count }, (_, i) => wav.subarray(i * size, (i + 1) * size));
}

/** Windows of `size` samples, `stride` apart, that lie in the clip; the clip itself when it is shorter. */
export function windows(wav: Float32Array, size: number, stride: number): Float32Array[] {
  const count = Math.max(1, Math.floor((wav.length - size) / stride) + 1);
  return Array.from({ length: count }, (_, i) => wav.subarray(i * stride, i * stride + size));
}

/** As few windows of `size` samples as cover the clip, evenly apart. */
export function covering(wav: Float32Array, size: number): Float32Array[] {
  const count = Math.max(1, Math.ceil(wav.length / size));
  const room = Math.max(0, wav.length - size);
  return Array.from({ length: count }, (_, i) => {
    const start = count === 1 ? 0 : Math.round((i * room) / (count - 1));
    return wav.subarray(start, start + size);
  });
}

/** The clip with zeros at its end, `size` samples in all. */
export function padded(wav: Float32Array, size: number): Float32Array {
  if (wav.length >= size) return wav;
  const all = new Float32Array(size);
  all.set(wav);
  return all;
}
