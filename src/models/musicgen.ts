/** A language model and its codec together: descriptions in, audio out (AudioCraft's `MusicGen`). */
import type { ConditioningAttributes } from "../data/conditioning.ts";
import { UserError } from "../errors.ts";
import { scoped, type Tensor, tf } from "../runtime/index.ts";
import type { CompressionModel } from "./compression.ts";
import { textAttributes } from "./conditioners/base.ts";
import { nullConditions } from "./conditioners/provider.ts";
import { type ConditionStreams, columns, Generator } from "./lm/generation.ts";
import type { MusicGenLM } from "./lm/lm.ts";
import type { SamplingOptions } from "./lm/sampling.ts";

export interface MusicGenOptions extends SamplingOptions {
  /** Seconds of audio. */
  duration: number;
  /** Guidance; 1 is none. */
  cfg_coef: number;
  /** Run the conditional and the unconditional rows one after the other, with the padding of training. */
  two_step_cfg: boolean;
  seed: number;
  /** Beyond the trained duration, each new window goes on so many seconds (the rest of it is the prompt). */
  extend_stride: number;
  /** Audio to continue from, float32 [B, C, T] at the codec's sample rate. */
  prompt?: { wav: Float32Array; shape: [number, number, number] } | null;
  /** Leave the prompt out of what is returned. */
  removePrompt?: boolean;
  onProgress?: (framesDone: number, framesTotal: number) => void;
}

export const generationDefaults: MusicGenOptions = {
  use_sampling: true,
  temp: 1,
  top_k: 250,
  top_p: 0,
  duration: 15,
  cfg_coef: 3,
  two_step_cfg: false,
  seed: 0,
  extend_stride: 18,
};

export interface GeneratedAudio {
  /** Per description, per channel. */
  audio: Float32Array[][];
  sampleRate: number;
  /** int32 [B, K, frames] */
  codes: Int32Array;
  frames: number;
}

export class MusicGen {
  readonly lm: MusicGenLM;
  readonly codec: CompressionModel;
  /** Seconds of the training segments: longer audio is made in windows of this. */
  readonly maxDuration: number;
  private readonly generator: Generator;

  constructor(lm: MusicGenLM, codec: CompressionModel, maxDuration: number) {
    this.lm = lm;
    this.codec = codec;
    this.maxDuration = maxDuration;
    this.generator = new Generator(lm);
  }

  /** One piece of audio per description; null is unconditional. All of them run as one batch. */
  async generate(
    descriptions: (string | null)[],
    options: Partial<MusicGenOptions> = {},
  ): Promise<GeneratedAudio> {
    return this.generateFor(
      descriptions.map((description) => textAttributes({ description })),
      options,
    );
  }

  /** The same for samples with more attributes than a description. */
  async generateFor(
    samples: ConditioningAttributes[],
    options: Partial<MusicGenOptions> = {},
  ): Promise<GeneratedAudio> {
    const settings = { ...generationDefaults, ...options };
    const { frameRate } = this.codec;
    const total = Math.floor(settings.duration * frameRate);
    if (total < 1)
      throw new UserError(`duration=${settings.duration} is less than one frame of ${1 / frameRate} s`);
    const conditions = this.conditionStreams(samples, settings);
    try {
      const prompt = settings.prompt ? this.encode(settings.prompt) : null;
      let codes = await this.generateCodes(conditions, samples.length, total, prompt, settings);
      let frames = total;
      if (prompt && settings.removePrompt) {
        codes = columns(codes, samples.length * this.lm.config.n_q, total, prompt.frames, total);
        frames -= prompt.frames;
      }
      const audio = this.decode(codes, samples.length, frames);
      return { audio, sampleRate: this.codec.sampleRate, codes, frames };
    } finally {
      tf.dispose(conditions.streams as never);
    }
  }

  /** Windows of at most `maxDuration`; each later one is prompted with the end of the one before. */
  private async generateCodes(
    conditions: ConditionStreams,
    batch: number,
    total: number,
    prompt: { codes: Int32Array; frames: number } | null,
    settings: MusicGenOptions,
  ): Promise<Int32Array> {
    const window = Math.floor(this.maxDuration * this.codec.frameRate);
    const stride = Math.min(
      Math.floor(settings.extend_stride * this.codec.frameRate),
      Math.max(1, Math.floor(window * 0.6)),
    );
    const rows = batch * this.lm.config.n_q;
    const out = new Int32Array(rows * total);
    let offset = 0;
    let current = prompt;
    for (let index = 0; ; index++) {
      const length = Math.min(window, total - offset);
      const { codes } = await this.generator.generate(conditions, batch, {
        ...settings,
        cfgCoef: settings.cfg_coef,
        maxGenLen: length,
        seed: settings.seed + index,
        prompt: current,
        onStep: (done, steps) => settings.onProgress?.(offset + Math.floor((length * done) / steps), total),
      });
      for (let row = 0; row < rows; row++)
        out.set(codes.subarray(row * length, (row + 1) * length), row * total + offset);
      if (offset + length >= total) return out;
      const kept = length - stride;
      offset += stride;
      current = { codes: columns(codes, rows, length, stride, length), frames: kept };
    }
  }

  private conditionStreams(samples: ConditioningAttributes[], settings: MusicGenOptions): ConditionStreams {
    const prepare = (rows: ConditioningAttributes[]) =>
      this.lm.conditionProvider.prepare(rows, { training: false });
    if (settings.cfg_coef === 1) return { guidance: "none", streams: [prepare(samples)] };
    const nulls = nullConditions(samples);
    if (settings.two_step_cfg) return { guidance: "two-step", streams: [prepare(samples), prepare(nulls)] };
    return { guidance: "joint", streams: [prepare([...samples, ...nulls])] };
  }

  private encode({ wav, shape }: NonNullable<MusicGenOptions["prompt"]>): {
    codes: Int32Array;
    frames: number;
  } {
    return scoped(() => {
      const { codes } = this.codec.encode(tf.tensor3d(wav, shape) as Tensor);
      return { codes: Int32Array.from(codes.dataSync()), frames: codes.shape[2]! };
    });
  }

  /** codes int32 [B, K, frames] -> per row, per channel samples. */
  private decode(codes: Int32Array, batch: number, frames: number): Float32Array[][] {
    const { n_q: nQ } = this.lm.config;
    return scoped(() => {
      const wav = this.codec.decode(tf.tensor3d(codes, [batch, nQ, frames], "int32") as Tensor, null);
      const [, channels, samples] = wav.shape as [number, number, number];
      const values = wav.dataSync() as Float32Array;
      return Array.from({ length: batch }, (_, b) =>
        Array.from({ length: channels }, (_, c) => {
          const start = (b * channels + c) * samples;
          return values.slice(start, start + samples);
        }),
      );
    });
  }
}
