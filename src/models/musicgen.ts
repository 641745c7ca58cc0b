/** A language model and its codec together: descriptions in, audio out (AudioCraft's `MusicGen`). */
import type { ConditioningAttributes } from "../data/conditioning.ts";
import { UserError } from "../errors.ts";
import { scoped, type Tensor, tf } from "../runtime/index.ts";
import { type CompressionModel, samplesOf } from "./compression.ts";
import { StyleConditioner, type StyleParams } from "./conditioners/style.ts";
import { columns } from "./lm/frames.ts";
import { Generator } from "./lm/generation.ts";
import type { MusicGenLM } from "./lm/lm.ts";
import {
  checkGuidance,
  conditionStreams,
  describedSamples,
  hasWavs,
  melodiesFrom,
} from "./musicgen/attributes.ts";
import { Handover } from "./musicgen/handover.ts";
import {
  checkParams,
  DEFAULT_DURATION,
  type GenerateOptions,
  type GenerationParams,
  generationDefaults,
  rowSeeds,
  type StreamOptions,
  samplingOptions,
  strideFrames,
} from "./musicgen/params.ts";
import { encodePrompt } from "./musicgen/prompt.ts";
import { type Codes, generateWindows } from "./musicgen/windows.ts";

export interface GeneratedAudio {
  /** Samples per description, per channel. */
  audio: Float32Array[][];
  sampleRate: number;
  /** int32 [B, K, frames] */
  codes: Int32Array;
  frames: number;
}

export interface AudioChunk {
  /** Samples per description, per channel: those that follow the chunk before. */
  audio: Float32Array[][];
  sampleRate: number;
  /** Seconds at which the chunk begins. */
  start: number;
  /** Samples per channel of all chunks together. */
  totalSamples: number;
}

export class MusicGen {
  readonly lm: MusicGenLM;
  readonly codec: CompressionModel;
  /** Seconds of the training segments: longer audio is made in windows of this. */
  readonly maxDuration: number;
  private readonly generator: Generator;
  private params: GenerationParams;

  constructor(lm: MusicGenLM, codec: CompressionModel, maxDuration: number) {
    this.lm = lm;
    this.codec = codec;
    this.maxDuration = maxDuration;
    this.generator = new Generator(lm);
    this.params = { ...generationDefaults, duration: Math.min(DEFAULT_DURATION, maxDuration) };
  }

  get sampleRate(): number {
    return this.codec.sampleRate;
  }

  get channels(): number {
    return this.codec.channels;
  }

  get frameRate(): number {
    return this.codec.frameRate;
  }

  get generationParams(): Readonly<GenerationParams> {
    return this.params;
  }

  /** Changes the parameters of all calls that follow; those that are left out stay as they are. */
  setGenerationParams(params: Partial<GenerationParams>): this {
    checkParams(params);
    this.params = { ...this.params, ...defined(params) };
    return this;
  }

  /** How a style model hears its excerpts. @throws UserError when this is none, or has fewer codebooks */
  setStyleParams(params: StyleParams): this {
    const style = Object.values(this.lm.conditionProvider.conditioners).find(
      (conditioner) => conditioner instanceof StyleConditioner,
    );
    if (!style) throw new UserError("this model has no style conditioner");
    (style as StyleConditioner).setParams(params);
    return this;
  }

  /**
   * One piece of audio per description; null is unconditional. All of them run as one batch.
   * @throws UserError for options that make no sense, or that the model has no conditioner for
   */
  async generate(
    descriptions: readonly (string | null)[],
    options: GenerateOptions = {},
  ): Promise<GeneratedAudio> {
    return this.generateFor(this.samplesFor(descriptions, options), options);
  }

  /** `count` pieces of audio without any condition. */
  async generateUnconditional(count: number, options: GenerateOptions = {}): Promise<GeneratedAudio> {
    return this.generate(Array(count).fill(null), options);
  }

  /**
   * Audio that follows a melody (or, with a style model, sounds like an excerpt): one clip of planar samples per description,
   * or null for none.
   */
  async generateWithChroma(
    descriptions: readonly (string | null)[],
    melodies: readonly (Float32Array[] | null)[],
    melodySampleRate: number,
    options: GenerateOptions = {},
  ): Promise<GeneratedAudio> {
    return this.generate(descriptions, {
      ...options,
      melody: { audio: melodies, sampleRate: melodySampleRate },
    });
  }

  /** Audio that goes on from clips of planar samples, which it begins with; `duration` counts from their begin. */
  async generateContinuation(
    prompts: readonly Float32Array[][],
    promptSampleRate: number,
    descriptions: readonly (string | null)[] = prompts.map(() => null),
    options: GenerateOptions = {},
  ): Promise<GeneratedAudio> {
    return this.generate(descriptions, {
      ...options,
      prompt: { audio: prompts, sampleRate: promptSampleRate },
    });
  }

  /**
   * The same audio as `generate`, in chunks while it is made. Nothing starts before the first chunk is asked for; the
   * generation is at most one chunk ahead of the loop that takes them, and ends when the loop is left or `signal` aborts.
   */
  async *generateStream(
    descriptions: readonly (string | null)[],
    options: StreamOptions = {},
  ): AsyncGenerator<AudioChunk, void, void> {
    yield* this.streamFor(this.samplesFor(descriptions, options), options);
  }

  /** `generate` for samples with attributes of their own. */
  async generateFor(
    samples: readonly ConditioningAttributes[],
    options: GenerateOptions = {},
  ): Promise<GeneratedAudio> {
    const task = this.plan(samples, options);
    const codes = await this.run(task, options);
    const { total, firstKept } = task;
    const removed = this.samplesOfFrames(firstKept);
    return {
      // what is removed is decoded, too: the codec's context of what follows
      audio: this.decode(codes, samples.length, total).map((row) =>
        row.map((channel) => channel.slice(removed)),
      ),
      sampleRate: this.sampleRate,
      codes: columns(codes, samples.length * this.lm.config.n_q, total, firstKept, total),
      frames: total - firstKept,
    };
  }

  /** `generateStream` for samples with attributes of their own. */
  async *streamFor(
    samples: readonly ConditioningAttributes[],
    options: StreamOptions = {},
  ): AsyncGenerator<AudioChunk, void, void> {
    const task = this.plan(samples, options);
    const { chunkDuration = 1 } = options;
    if (!(chunkDuration > 0 && Number.isFinite(chunkDuration)))
      throw new UserError(`chunkDuration=${chunkDuration}: a number of seconds above 0 is needed`);
    const framesPerChunk = Math.max(1, Math.round(chunkDuration * this.frameRate));
    const left = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal;
    const chunks = new Handover<AudioChunk>();
    const decoder = this.codec.streamingDecoder(samples.length);
    const totalSamples = this.samplesOfFrames(task.total - task.firstKept);
    let toRemove = this.samplesOfFrames(task.firstKept);
    let samplesDone = 0;
    const hand = async (decoded: Float32Array[][]) => {
      const removed = Math.min(toRemove, decoded[0]?.[0]?.length ?? 0);
      toRemove -= removed;
      const audio = decoded.map((row) => row.map((channel) => channel.subarray(removed)));
      const length = audio[0]?.[0]?.length ?? 0;
      if (length === 0) return;
      const start = samplesDone / this.sampleRate;
      await chunks.put({ audio, sampleRate: this.sampleRate, start, totalSamples });
      samplesDone += length;
    };
    const work = this.run(task, { ...options, signal }, framesPerChunk, ({ codes }) =>
      hand(decoder.push(codes)),
    )
      .then(() => hand(decoder.flush()))
      .then(
        () => chunks.end(),
        (error) => chunks.end({ error }),
      );
    try {
      yield* chunks;
    } finally {
      left.abort();
      chunks.abandon();
      await work;
      decoder.dispose();
    }
  }

  /** Frees the weights of the model and its codec. */
  dispose(): void {
    this.generator.dispose();
    this.lm.dispose();
    this.codec.dispose();
  }

  private samplesFor(
    descriptions: readonly (string | null)[],
    { melody }: GenerateOptions,
  ): ConditioningAttributes[] {
    if (!Array.isArray(descriptions))
      throw new UserError(
        `descriptions must be a list, as in ["slow piano"], not ${JSON.stringify(descriptions)}`,
      );
    return describedSamples(descriptions, melody, this.lm.conditionProvider, this);
  }

  /** Checks what is asked for, before anything heavy starts. */
  private plan(samples: readonly ConditioningAttributes[], options: GenerateOptions): Task {
    const { seed = 0, prompt, removePrompt = false } = options;
    const asked = pickParams(options);
    checkParams(asked);
    const params = { ...this.params, ...asked };
    if (samples.length === 0) throw new UserError("nothing to generate: no description was given");
    checkGuidance(this.lm.conditionProvider, params);
    const { framesPerStep } = this.codec;
    const wholeSteps = (frames: number) => frames - (frames % framesPerStep);
    const total = wholeSteps(Math.floor(params.duration * this.frameRate));
    if (total < 1)
      throw new UserError(
        `duration=${params.duration} is less than one frame of ${framesPerStep / this.frameRate} s`,
      );
    const codes = prompt ? encodePrompt(prompt, samples.length, this.codec) : null;
    if (codes && codes.frames >= total)
      throw new UserError(
        `the prompt of ${codes.frames / this.frameRate} s leaves nothing of duration=${params.duration} to generate; ask for more or shorten it`,
      );
    return {
      samples,
      params,
      total,
      prompt: codes,
      firstKept: removePrompt ? (codes?.frames ?? 0) : 0,
      window: wholeSteps(Math.floor(this.maxDuration * this.frameRate)),
      stride: Math.max(framesPerStep, wholeSteps(strideFrames(params, this.maxDuration, this.frameRate))),
      seeds: rowSeeds(seed, samples.length),
    };
  }

  private async run(
    task: Task,
    { signal, onProgress }: GenerateOptions,
    framesPerChunk?: number,
    onFrames?: (piece: Codes) => Promise<void>,
  ): Promise<Int32Array> {
    signal?.throwIfAborted();
    const { samples, params, total, window } = task;
    const provider = this.lm.conditionProvider;
    // melodies of long audio go on with it: each window has its own part of them
    const moving = total > window && hasWavs(samples);
    return generateWindows(this.generator, {
      ...task,
      batch: samples.length,
      nQ: this.lm.config.n_q,
      sampling: samplingOptions(params),
      cfgCoef: params.cfgCoef,
      cfgCoefBeta: params.cfgCoefBeta,
      conditions: (firstFrame) =>
        provider.withSeed(task.seeds[0], () =>
          conditionStreams(
            provider,
            moving ? melodiesFrom(samples, firstFrame / this.frameRate, this.maxDuration) : samples,
            params,
          ),
        ),
      sameConditions: !moving,
      onStep: (done) => {
        signal?.throwIfAborted();
        onProgress?.(done, total);
      },
      onFrames,
      framesPerChunk,
    });
  }

  private samplesOfFrames(frames: number): number {
    return Math.round((frames * this.sampleRate) / this.frameRate);
  }

  /** codes int32 [B, K, frames] -> per row, per channel samples. */
  private decode(codes: Int32Array, batch: number, frames: number): Float32Array[][] {
    const { n_q: nQ } = this.lm.config;
    return scoped(() => {
      const wav = this.codec.decode(tf.tensor3d(codes, [batch, nQ, frames], "int32") as Tensor, null);
      return samplesOf(wav);
    });
  }
}

/** A generation that has been checked. Counts are of frames. */
interface Task {
  samples: readonly ConditioningAttributes[];
  params: GenerationParams;
  total: number;
  prompt: Codes | null;
  /** The first frame that is returned. */
  firstKept: number;
  window: number;
  stride: number;
  seeds: number[];
}

/** Names of options that are no parameters. */
const OTHER_OPTIONS = new Set([
  "seed",
  "prompt",
  "removePrompt",
  "melody",
  "signal",
  "onProgress",
  "chunkDuration",
]);

function pickParams(options: GenerateOptions): Partial<GenerationParams> {
  return defined(Object.fromEntries(Object.entries(options).filter(([name]) => !OTHER_OPTIONS.has(name))));
}

function defined<T extends object>(values: T): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>;
}
