/** The chroma conditioner from its config section, and the waveforms that stand in for the samples' own in evaluation. */
import { AudioDataset } from "../../data/audio_dataset.ts";
import { readManifest } from "../../data/manifest.ts";
import { UserError } from "../../errors.ts";
import type { InitializerStream } from "../../nn/index.ts";
import type { ConditionerContext } from "./build.ts";
import { ChromaStemConditioner } from "./chroma.ts";
import type { Options } from "./options.ts";
import { openStemSeparator } from "./stems.ts";

/** @throws UserError for wrong settings, unreadable evaluation waveforms or a missing separator */
export async function buildChromaStem(
  options: Options,
  context: ConditionerContext,
  init: InitializerStream,
): Promise<ChromaStemConditioner> {
  options.only([
    ...["sample_rate", "n_chroma", "radix2_exp", "argmax", "nfft", "winlen", "winhop", "norm", "duration"],
    ...["match_len_on_eval", "chroma_length", "eval_wavs", "n_eval_wavs", "cache_path", "stem_separator"],
  ]);
  const duration = options.optionalNumber("duration") ?? context.segmentDuration;
  if (duration === null) {
    throw new UserError(
      `${options.path} needs dataset.segment_duration: melodies are as long as the segments`,
    );
  }
  const sampleRate = options.size("sample_rate");
  const separator = options.optionalString("stem_separator");
  const evalWavs = options.optionalString("eval_wavs");
  const conditioner = new ChromaStemConditioner(
    {
      outputDim: context.outputDim,
      seed: context.seed,
      sampleRate,
      duration,
      nChroma: options.size("n_chroma", 12),
      radix2Exp: options.size("radix2_exp", 12),
      argmax: options.boolean("argmax", false),
      nfft: options.optionalSize("nfft"),
      winlen: options.optionalSize("winlen"),
      winhop: options.optionalSize("winhop"),
      norm: options.optionalNumber("norm") ?? undefined,
      matchLength: options.boolean("match_len_on_eval", true),
      chromaLength: options.optionalSize("chroma_length"),
      cachePath: options.optionalString("cache_path"),
      separator: separator === null ? null : await openStemSeparator(separator),
    },
    init,
  );
  if (evalWavs !== null) {
    const count = options.size("n_eval_wavs");
    await conditioner.useEvalWavs(
      await readEvalWavs(options.path, evalWavs, { count, duration, sampleRate }),
    );
  }
  return conditioner;
}

/** The first `count` segments of the data set that the manifest lists, mono. */
async function readEvalWavs(
  path: string,
  manifest: string,
  { count, duration, sampleRate }: { count: number; duration: number; sampleRate: number },
): Promise<Float32Array[]> {
  const meta = readManifest(manifest).filter((row) => row.duration >= duration);
  if (meta.length === 0) {
    throw new UserError(`${path}.eval_wavs=${manifest}: none of its files is as long as ${duration} s`);
  }
  const settings = { segmentDuration: duration, minAudioDuration: duration, sampleRate, channels: 1 };
  const dataset = new AudioDataset(meta, settings);
  const wavs: Float32Array[] = [];
  for (let index = 0; index < count; index++) wavs.push((await dataset.item(index)).wav);
  return wavs;
}
