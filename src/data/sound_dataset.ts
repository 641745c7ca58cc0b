/** Segments of environmental sound with their description, mixed in pairs as AudioGen was trained (arXiv 2209.15352). */
import { basename, join } from "node:path";
import { UserError } from "../errors.ts";
import { TorchGenerator } from "../random/mt19937.ts";
import { AudioReadError } from "./audio/audio.ts";
import {
  AudioDataset,
  type AudioDatasetOptions,
  type AudioItem,
  type BrokenFileWarning,
  type SegmentInfo,
} from "./audio_dataset.ts";
import { type Batch, collate, itemWav } from "./batch.ts";
import { type ConditioningAttributes, emptyAttributes } from "./conditioning.ts";
import type { AudioMeta } from "./manifest.ts";
import { cleanLabel, cleanList } from "./music_info.ts";
import { mixSeed, permutation } from "./random.ts";
import { readSidecar, type Sidecar, sidecarPath } from "./sidecar.ts";
import { type MixOptions, mixWaves } from "./sound_mix.ts";

export interface SoundInfo extends SegmentInfo {
  description: string | null;
}

export interface SoundDatasetOptions extends AudioDatasetOptions, MixOptions {
  /** Folder with more sidecars, `<name of the audio file>.json`; the one beside the audio file goes first. */
  externalMetadataSource: string | null;
  /** Probability that a batch is mixed. 0: batches stay as they are. */
  augP: number;
  /** Share of a batch that is mixed, and that is left of it: batches get this much smaller whether mixed or not. */
  mixP: number;
}

const SOUND_DATASET_DEFAULTS: Omit<SoundDatasetOptions, keyof AudioDatasetOptions> = {
  externalMetadataSource: null,
  augP: 0,
  mixP: 0,
  mixSnrLow: -5,
  mixSnrHigh: 5,
  mixMinOverlap: 0.5,
};

/** Keep the draws for text and for mixing apart from those for segments. */
const TEXT_STREAM = 0x736f756e;
const MIX_STREAM = 0x6d697820;

export class SoundDataset extends AudioDataset<SoundInfo> {
  private readonly sound: typeof SOUND_DATASET_DEFAULTS;

  /** Throws UserError for mixing without a share to mix, or of more than one channel. */
  constructor(
    meta: AudioMeta[],
    options: Partial<SoundDatasetOptions>,
    onWarning: BrokenFileWarning = () => {},
  ) {
    super(meta, options, onWarning);
    this.sound = { ...SOUND_DATASET_DEFAULTS, ...options };
    const { augP, mixP, mixSnrLow, mixSnrHigh, mixMinOverlap } = this.sound;
    if (augP > 0 && !(mixP > 0 && mixP <= 1))
      throw new UserError(
        `dataset.aug_p=${augP} needs dataset.mix_p, the share of a batch that is mixed, in (0, 1]; it is ${mixP}`,
      );
    if (augP > 0 && this.options.channels !== 1)
      throw new UserError(
        `mixing sounds (dataset.aug_p=${augP}) needs channels=1, not ${this.options.channels}`,
      );
    if (!(mixSnrLow <= mixSnrHigh) || !(mixMinOverlap >= 0 && mixMinOverlap <= 1))
      throw new UserError(
        `mixing needs dataset.mix_snr_low <= mix_snr_high and mix_min_overlap in [0, 1], got ${mixSnrLow}, ${mixSnrHigh}, ${mixMinOverlap}`,
      );
  }

  /**
   * With `augP`, batches of int(mixP * B) items (at least one): pairs of items mixed, or with probability 1 - augP a random
   * choice of items as they are.
   */
  override collate(
    items: AudioItem<SoundInfo>[],
    indices: ArrayLike<number>,
    epoch: number,
  ): Batch<SoundInfo> {
    const batch = collate(items);
    const { augP, mixP } = this.sound;
    if (!(augP > 0)) return batch;
    const random = new TorchGenerator(this.seed(MIX_STREAM, epoch, ...Array.from(indices)));
    const mixed = random.rand() < augP;
    const count = Math.max(1, Math.floor(mixP * items.length));
    const sources = permutation(random, items.length).subarray(0, count);
    if (!mixed) return choose(batch, sources);
    const targets = permutation(random, items.length).subarray(0, count);
    return mixPairs(batch, sources, targets, this.sound, random);
  }

  protected override describe(segment: SegmentInfo, index: number, epoch: number): SoundInfo {
    const { path } = segment.meta;
    const { description } = this.sidecar(path);
    // One of several wordings; small letters throughout.
    if (!Array.isArray(description)) return { ...segment, description: cleanLabel(description) };
    const wordings = cleanList(description) ?? [null];
    const random = new TorchGenerator(this.seed(TEXT_STREAM, epoch, index));
    return { ...segment, description: wordings[random.randint(wordings.length)] };
  }

  /** A sound without sidecar is of no use: other than music, sounds are always described. */
  private sidecar(audio: string): Sidecar {
    const beside = sidecarPath(audio);
    const { externalMetadataSource: folder } = this.sound;
    const places = folder ? [beside, join(folder, basename(beside))] : [beside];
    for (const place of places) {
      try {
        const sidecar = readSidecar(place);
        if (sidecar) return sidecar;
      } catch (error) {
        throw new AudioReadError(audio, `its sidecar ${place} is broken: ${(error as Error).message}`);
      }
    }
    throw new AudioReadError(audio, `it has no description: there is no ${places.join(" nor ")}`);
  }

  private seed(stream: number, epoch: number, ...rest: number[]): number {
    const { shuffle, shuffleSeed } = this.options;
    return mixSeed(stream, shuffle ? epoch : 0, shuffleSeed, ...rest);
  }
}

/** These items of a batch. */
function choose(batch: Batch<SoundInfo>, chosen: Uint32Array): Batch<SoundInfo> {
  const [, channels, frames] = batch.shape;
  const wav = new Float32Array(chosen.length * channels * frames);
  for (const [row, item] of chosen.entries()) wav.set(itemWav(batch, item), row * channels * frames);
  return { wav, shape: [chosen.length, channels, frames], infos: Array.from(chosen, (i) => batch.infos[i]) };
}

/** Row i: the sound `sources[i]` with `targets[i]` mixed in, under both descriptions. */
function mixPairs(
  batch: Batch<SoundInfo>,
  sources: Uint32Array,
  targets: Uint32Array,
  options: MixOptions,
  random: TorchGenerator,
): Batch<SoundInfo> {
  const mixed = choose(batch, sources);
  const added = choose(batch, targets);
  const start = mixWaves(mixed.wav, added.wav, mixed.shape[2], options, random);
  const infos = mixed.infos.map((info, i): SoundInfo => {
    const other = added.infos[i];
    return {
      ...info,
      nFrames: Math.max(info.nFrames, Math.min(info.totalFrames, start + other.nFrames)),
      description: joinTexts(info.description, other.description),
    };
  });
  return { ...mixed, infos };
}

function joinTexts(first: string | null, second: string | null): string | null {
  if (first === second) return first;
  return [first, second].filter((text) => text !== null).join(" ");
}

/** Conditions of one item; `wav` is its planar samples [C, T], after mixing. */
export function soundConditions(info: SoundInfo, wav: Float32Array): ConditioningAttributes {
  const attributes = emptyAttributes();
  attributes.text.description = info.description;
  attributes.wav.self_wav = {
    wav,
    shape: [1, info.channels, wav.length / info.channels],
    length: info.nFrames,
    sampleRate: info.sampleRate,
    path: info.meta.path,
    seekTime: info.seekTime,
  };
  return attributes;
}
