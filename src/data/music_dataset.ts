/** Segments of music with what their sidecar JSON says (`song.json` beside `song.wav`). */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { gunzipSync } from "node:zlib";
import { UserError } from "../errors.ts";
import { TorchGenerator } from "../random/mt19937.ts";
import {
  AudioDataset,
  type AudioDatasetOptions,
  type BrokenFileWarning,
  type SegmentInfo,
} from "./audio_dataset.ts";
import { type ConditioningAttributes, emptyAttributes, type WavCondition } from "./conditioning.ts";
import type { AudioMeta } from "./manifest.ts";
import {
  attributeText,
  cleanMusicInfo,
  type MergeOptions,
  MUSIC_FIELDS,
  type MusicAttributes,
  mergeDescription,
} from "./music_info.ts";
import { mixSeed } from "./random.ts";
import { readSidecar, type Sidecar, sidecarPath } from "./sidecar.ts";

export interface MusicInfo extends SegmentInfo, MusicAttributes {
  /** Attributes that are also embedded together with the waveform, as text. */
  jointEmbed: Record<string, string | null>;
}

export interface MusicDatasetOptions extends AudioDatasetOptions, MergeOptions {
  jointEmbedAttributes: (keyof MusicAttributes)[];
  /** JSON (or .json.gz) file: sidecar path -> other wordings of its description. */
  paraphraseSource: string | null;
  paraphraseP: number;
}

const MUSIC_DATASET_DEFAULTS: Omit<MusicDatasetOptions, keyof AudioDatasetOptions> = {
  mergeTextP: 0,
  dropDescP: 0,
  dropOtherP: 0,
  jointEmbedAttributes: [],
  paraphraseSource: null,
  paraphraseP: 0,
};

/** Keeps the draws for text apart from those for segments. */
const TEXT_STREAM = 0x74657874;

export class MusicDataset extends AudioDataset<MusicInfo> {
  private readonly text: typeof MUSIC_DATASET_DEFAULTS;
  private readonly paraphrases: Record<string, string[]>;
  private readonly badSidecars = new Set<string>();

  /** Throws UserError for unknown joint-embed attributes and an unreadable paraphrase source. */
  constructor(
    meta: AudioMeta[],
    options: Partial<MusicDatasetOptions>,
    onWarning: BrokenFileWarning = () => {},
  ) {
    super(meta, options, onWarning);
    this.text = { ...MUSIC_DATASET_DEFAULTS, ...options };
    for (const name of this.text.jointEmbedAttributes)
      if (!MUSIC_FIELDS.includes(name))
        throw new UserError(
          `dataset.joint_embed_attributes: "${name}" is none of ${MUSIC_FIELDS.join(", ")}`,
        );
    this.paraphrases = readParaphrases(this.text.paraphraseSource);
    const { paraphraseSource } = this.text;
    if (paraphraseSource && !this.meta.some(({ path }) => resolve(sidecarPath(path)) in this.paraphrases))
      onWarning(`dataset.paraphrase_source=${paraphraseSource} names no sidecar of this data set`, "");
  }

  protected override describe(segment: SegmentInfo, index: number, epoch: number): MusicInfo {
    const sidecar = sidecarPath(segment.meta.path);
    const attributes = cleanMusicInfo(this.sidecarOf(segment));
    const { shuffle, shuffleSeed } = this.options;
    const random = new TorchGenerator(mixSeed(TEXT_STREAM, shuffle ? epoch : 0, shuffleSeed, index));
    const wordings = this.paraphrases[resolve(sidecar)];
    if (wordings?.length && random.rand() < this.text.paraphraseP)
      attributes.description = wordings[random.randint(wordings.length)];
    attributes.description = mergeDescription(attributes, this.text, random);
    const jointEmbed = Object.fromEntries(
      this.text.jointEmbedAttributes.map((name) => [name, attributeText(attributes, name)]),
    );
    return { ...segment, ...attributes, jointEmbed };
  }

  /** What lies beside a segment's file; {} when there is nothing to read. */
  protected sidecarOf({ meta }: SegmentInfo): Sidecar {
    const path = sidecarPath(meta.path);
    try {
      return readSidecar(path) ?? {};
    } catch (error) {
      if (!this.badSidecars.has(path)) {
        this.badSidecars.add(path);
        this.onWarning(
          `cannot read sidecar ${path}: ${(error as Error).message}; its audio is used without text`,
          path,
        );
      }
      return {};
    }
  }
}

/** Other wordings of descriptions, by the absolute path of the sidecar. Throws UserError. */
export function readParaphrases(source: string | null): Record<string, string[]> {
  if (!source) return {};
  try {
    const bytes = readFileSync(source);
    const wordings = JSON.parse((source.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("utf8"));
    // Sidecars may be named relative to the working folder, as in manifests.
    return Object.fromEntries(
      Object.entries<string[]>(wordings).map(([path, texts]) => [resolve(path), texts]),
    );
  } catch (error) {
    throw new UserError(`dataset.paraphrase_source=${source}: ${(error as Error).message}`);
  }
}

/** Conditions of one item; `wav` is its planar samples [C, T]. Conditioners pick the attributes that they know. */
export function musicConditions(info: MusicInfo, wav: Float32Array): ConditioningAttributes {
  const attributes = emptyAttributes();
  for (const field of MUSIC_FIELDS) attributes.text[field] = attributeText(info, field);
  const condition: WavCondition = {
    wav,
    shape: [1, info.channels, wav.length / info.channels],
    length: info.nFrames,
    sampleRate: info.sampleRate,
    path: info.meta.path,
    seekTime: info.seekTime,
  };
  attributes.wav.self_wav = condition;
  for (const [name, text] of Object.entries(info.jointEmbed))
    attributes.joint_embed[name] = { ...condition, text };
  return attributes;
}
