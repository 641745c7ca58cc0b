/** A data set as plain data, so that every worker thread can open the same one. */
import {
  AudioDataset,
  type AudioDatasetOptions,
  type BrokenFileWarning,
  type SegmentInfo,
} from "./audio_dataset.ts";
import { type PathMappers, readManifest } from "./manifest.ts";
import { MusicDataset, type MusicDatasetOptions } from "./music_dataset.ts";

export type DatasetSpec = { manifest: string; cwd: string; mappers?: PathMappers } & (
  | { type: "audio"; options: Partial<AudioDatasetOptions> }
  | { type: "music"; options: Partial<MusicDatasetOptions> }
);

export function openDataset(spec: DatasetSpec, onWarning?: BrokenFileWarning): AudioDataset<SegmentInfo> {
  const meta = readManifest(spec.manifest, spec.cwd, spec.mappers);
  return spec.type === "music"
    ? (new MusicDataset(meta, spec.options, onWarning) as AudioDataset<SegmentInfo>)
    : new AudioDataset(meta, spec.options, onWarning);
}
