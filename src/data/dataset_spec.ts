/** A data set as plain data, so that every worker thread can open the same one. */
import {
  AudioDataset,
  type AudioDatasetOptions,
  type BrokenFileWarning,
  type SegmentInfo,
} from "./audio_dataset.ts";
import { TokenDataset, type TokenDatasetOptions } from "./cache/token_dataset.ts";
import { type PathMappers, readManifest } from "./manifest.ts";
import { MusicDataset, type MusicDatasetOptions } from "./music_dataset.ts";
import { SoundDataset, type SoundDatasetOptions } from "./sound_dataset.ts";

export type DatasetSpec = { manifest: string; cwd: string; mappers?: PathMappers } & (
  | { type: "audio"; options: Partial<AudioDatasetOptions> }
  | { type: "music"; options: Partial<MusicDatasetOptions> }
  | { type: "sound"; options: Partial<SoundDatasetOptions> }
  | { type: "tokens"; options: Partial<TokenDatasetOptions> }
);

export function openDataset(spec: DatasetSpec, onWarning?: BrokenFileWarning): AudioDataset<SegmentInfo> {
  const meta = readManifest(spec.manifest, spec.cwd, spec.mappers);
  switch (spec.type) {
    case "music":
      return new MusicDataset(meta, spec.options, onWarning) as AudioDataset<SegmentInfo>;
    case "tokens":
      return new TokenDataset(meta, spec.options, onWarning) as AudioDataset<SegmentInfo>;
    case "sound":
      return new SoundDataset(meta, spec.options, onWarning) as AudioDataset<SegmentInfo>;
    case "audio":
      return new AudioDataset(meta, spec.options, onWarning);
  }
}
