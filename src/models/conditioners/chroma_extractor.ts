/**
 * Chromagrams: how much of each pitch class sounds in each frame. What MusicGen takes for a melody (arXiv 2306.05284), and what
 * transformers' MusicgenMelodyFeatureExtractor gives.
 */
import { UserError } from "../../errors.ts";
import { hannWindow } from "../../nn/stft.ts";
import { autocast, type Jitted, jit, scoped, type Tensor, type Tensor2D, tf } from "../../runtime/index.ts";
import { chromaBank } from "./chroma_bank.ts";

export interface ChromaOptions {
  sampleRate: number;
  nChroma: number;
  /** The window has 2^radix2Exp samples, and the next frame is a quarter of that further. */
  radix2Exp: number;
  /** Keep only the strongest class of each frame, as 1. */
  argmax: boolean;
  /** Window, hop and transform in samples, where they should not follow from `radix2Exp`. */
  winlen?: number | null;
  winhop?: number | null;
  nfft?: number | null;
  /** Frames are divided by their p-norm; infinite by default: the strongest class is 1. */
  norm?: number;
}

/** Frames that go through one call of the jitted function; the last ones are filled up, so that it is traced once. */
const BLOCK = 64;

export class ChromaExtractor {
  readonly nChroma: number;
  readonly nFft: number;
  readonly hop: number;
  private readonly argmax: boolean;
  private readonly norm: number;
  private readonly window: Float32Array;
  /** [bins, nChroma] */
  private readonly bank: Tensor2D;
  private readonly block: Jitted<[Tensor], Tensor>;

  /** @throws UserError for a window longer than the transform, or one that is empty */
  constructor(options: ChromaOptions) {
    const { sampleRate, nChroma, radix2Exp, argmax, norm = Number.POSITIVE_INFINITY } = options;
    const windowLength = options.winlen || 2 ** radix2Exp;
    this.nChroma = nChroma;
    this.nFft = options.nfft || windowLength;
    this.hop = options.winhop || Math.floor(windowLength / 4);
    this.argmax = argmax;
    this.norm = norm;
    if (windowLength > this.nFft || this.hop < 1) {
      throw new UserError(
        `chroma: a window of ${windowLength} samples every ${this.hop} does not fit a transform of ${this.nFft}`,
      );
    }
    this.window = normalizedWindow(windowLength, this.nFft);
    const bins = 1 + Math.floor(this.nFft / 2);
    const bank = chromaBank(sampleRate, this.nFft, nChroma);
    this.bank = tf.tidy(() => tf.keep(tf.transpose(tf.tensor2d(bank, [nChroma, bins]))));
    this.block = jit((frames: Tensor) => this.chroma(frames), { name: "chroma" });
  }

  /** How many frames `samples` samples make; fewer than a transform are padded to one. */
  frames(samples: number): number {
    return 1 + Math.floor(Math.max(samples, this.nFft) / this.hop);
  }

  /** Mono samples at the extractor's rate -> float32 [frames, nChroma], row by row. */
  extract(wav: Float32Array): Float32Array {
    const frames = this.frames(wav.length);
    const padded = this.pad(wav);
    const out = new Float32Array(frames * this.nChroma);
    for (let first = 0; first < frames; first += BLOCK) {
      const count = Math.min(BLOCK, frames - first);
      const block = new Float32Array(BLOCK * this.nFft);
      for (let i = 0; i < count; i++) {
        const start = (first + i) * this.hop;
        block.set(padded.subarray(start, start + this.nFft), i * this.nFft);
      }
      const chroma = scoped(() =>
        autocast(null, () => this.block(tf.tensor2d(block, [BLOCK, this.nFft])).dataSync() as Float32Array),
      );
      out.set(chroma.subarray(0, count * this.nChroma), first * this.nChroma);
    }
    return out;
  }

  /** What `extract` gives for silence, float32 [frames, nChroma], without computing it. */
  silence(frames: number): Float32Array {
    const out = new Float32Array(frames * this.nChroma);
    if (this.argmax) for (let frame = 0; frame < frames; frame++) out[frame * this.nChroma] = 1;
    return out;
  }

  dispose(): void {
    this.bank.dispose();
    this.block.dispose();
  }

  /** Zeros around what is shorter than a transform, then half a transform of reflection on both sides. */
  private pad(wav: Float32Array): Float32Array {
    const missing = Math.max(0, this.nFft - wav.length);
    const length = wav.length + missing;
    const offset = Math.floor(missing / 2);
    const half = Math.floor(this.nFft / 2);
    const padded = new Float32Array(length + 2 * half);
    padded.set(wav, half + offset);
    for (let i = 1; i <= half; i++) {
      padded[half - i] = padded[half + i];
      padded[half + length - 1 + i] = padded[half + length - 1 - i];
    }
    return padded;
  }

  /** frames [BLOCK, nFft] -> [BLOCK, nChroma] */
  private chroma(frames: Tensor): Tensor {
    const spectrum = tf.spectral.rfft(tf.mul(frames, tf.tensor1d(this.window)));
    const power = tf.add(tf.square(tf.real(spectrum)), tf.square(tf.imag(spectrum))) as Tensor2D;
    const chroma = tf.matMul(power, this.bank);
    const normalized = tf.div(chroma, tf.maximum(pNorm(chroma, this.norm), 1e-6)) as Tensor;
    return this.argmax ? tf.oneHot(tf.argMax(normalized, 1).toInt(), this.nChroma).toFloat() : normalized;
  }
}

/** A Hann window (periodic) in the middle of `nFft` samples, divided by the root of its energy. */
function normalizedWindow(length: number, nFft: number): Float32Array {
  const hann = hannWindow(length, nFft);
  const scale = Math.sqrt(hann.reduce((energy, value) => energy + value * value, 0));
  return hann.map((value) => value / scale);
}

/** Norms of the rows of x [N, C] -> [N, 1] */
function pNorm(x: Tensor, p: number): Tensor {
  if (p === Number.POSITIVE_INFINITY) return tf.max(tf.abs(x), 1, true);
  return tf.pow(tf.sum(tf.pow(tf.abs(x), p), 1, true), 1 / p);
}
