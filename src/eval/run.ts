/** Generates for held-out descriptions, batch by batch, and listens. */
import { describeClip } from "../data/example/description.ts";
import { largeExampleSpecs } from "../data/example/large_set.ts";
import type { ClipSpec } from "../data/example/specs.ts";
import { synthesizeClip } from "../data/example/synthesize.ts";
import { harmonics, WAVE_SHAPES, WaveShapeJudge } from "../listening/wave_shape.ts";
import { listen, type PartSpec } from "../listening/wishes.ts";
import { samplesOf } from "../models/compression.ts";
import type { GenerateOptions } from "../models/musicgen/params.ts";
import type { MusicGen } from "../models/musicgen.ts";
import { scoped, tf } from "../runtime/index.ts";
import type { EvaluatedClip } from "./results.ts";

export interface RunOptions {
  /** How many clips are generated together. */
  batch: number;
  /** Seconds. */
  duration: number;
  seed: number;
  generation: GenerateOptions;
  onProgress(clips: number): void;
  /** Each generated clip, in order. */
  onClip(clip: EvaluatedClip, samples: Float32Array): Promise<void>;
}

/** The held-out clips; every part of them in random order. */
export function heldOutSpecs(): PartSpec[] {
  return specsOf("valid");
}

function specsOf(split: ClipSpec["split"]): PartSpec[] {
  return largeExampleSpecs().filter((spec): spec is PartSpec => spec.split === split && spec.part !== null);
}

/** @throws UserError as `MusicGen.generate` does */
export async function evaluateModel(
  musicgen: MusicGen,
  specs: readonly PartSpec[],
  { batch, duration, seed, generation, onProgress, onClip }: RunOptions,
): Promise<EvaluatedClip[]> {
  const clips: EvaluatedClip[] = [];
  const judge = trainedJudge(musicgen, duration);
  for (let first = 0; first < specs.length; first += batch) {
    const group = specs.slice(first, first + batch);
    const descriptions = group.map((spec) => describeClip(spec).description);
    const { audio, sampleRate } = await musicgen.generate(descriptions, {
      ...generation,
      duration,
      seed: group.map((_, i) => seed + first + i),
      onProgress: (done, total) => onProgress(first + (done / total) * group.length),
    });
    const real = reconstructions(musicgen, group, duration);
    for (const [i, spec] of group.entries()) {
      const samples = mono(audio[i]);
      const clip: EvaluatedClip = {
        id: spec.id,
        description: descriptions[i],
        generated: listen(samples, sampleRate, spec, judge),
        reconstructed: listen(real[i], sampleRate, spec, judge),
      };
      clips.push(clip);
      await onClip(clip, samples);
    }
    onProgress(clips.length);
  }
  return clips;
}

/** A judge of wave shapes that has heard training clips of each through the codec. */
function trainedJudge(musicgen: MusicGen, duration: number): WaveShapeJudge {
  const train = specsOf("train");
  const examples = WAVE_SHAPES.flatMap((shape) =>
    train
      .filter(({ part }) => part.instrument === shape)
      .slice(0, EXAMPLES_OF_A_SHAPE)
      .map((spec) => ({ shape, spec })),
  );
  const clips = reconstructions(
    musicgen,
    examples.map(({ spec }) => spec),
    duration,
  );
  return new WaveShapeJudge(
    examples.map(({ shape }, i) => ({ shape, harmonics: harmonics(clips[i], musicgen.sampleRate) })),
  );
}

const EXAMPLES_OF_A_SHAPE = 24;

/** The real clips after coding and decoding. */
function reconstructions({ codec }: MusicGen, specs: readonly PartSpec[], duration: number): Float32Array[] {
  const { sampleRate, channels } = codec;
  return specs.map((spec) =>
    scoped(() => {
      const [samples] = synthesizeClip({ ...spec, sampleRate, channels: 1, cutAt: duration }).samples;
      const wav = tf.tile(tf.tensor(samples, [1, 1, samples.length]), [1, channels, 1]);
      const { codes, scale } = codec.encode(wav);
      const [decoded] = samplesOf(codec.decode(codes, scale), samples.length);
      return mono(decoded);
    }),
  );
}

function mono(channels: Float32Array[]): Float32Array {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, i) => channels.reduce((sum, samples) => sum + samples[i], 0) / channels.length);
}
