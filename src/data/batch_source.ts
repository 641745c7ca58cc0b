/** Where a solver's batches come from: a loader of audio, or a cache of tokens. */
import type { SegmentInfo } from "./audio_dataset.ts";
import type { Batch } from "./batch.ts";
import type { LoaderStats } from "./loader.ts";
import type { ReadTimes } from "./segment_samples.ts";

export interface BatchSource<Info extends SegmentInfo = SegmentInfo> {
  readonly options: { readonly batchSize: number; readonly numWorkers?: number };
  readonly stats: LoaderStats;
  /** Seconds of `stats.readSeconds` by stage, of a source that reads audio. */
  readonly times?: ReadTimes;
  /** Batches per epoch. */
  readonly length: number;
  /** Whether the last batch of an epoch has fewer items than the others. */
  readonly endsSmaller?: boolean;
  /** The batches of an epoch from batch `start` on. */
  batches(epoch: number, start?: number): AsyncGenerator<Batch<Info>, void, void>;
  /** Makes ready for the first batch, in the background. */
  start?(): void;
  close(): Promise<void>;
}
