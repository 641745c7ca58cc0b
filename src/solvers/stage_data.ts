/** The data of a run's stages: how many batches each takes, and what is said about progress and reading. */
import type { RunConfig } from "../config/index.ts";
import { type DataMoment, reportOnData } from "../data/advice.ts";
import type { SegmentInfo } from "../data/audio_dataset.ts";
import type { BatchSource } from "../data/batch_source.ts";
import type { Split } from "../data/build_loaders.ts";
import { UserError } from "../errors.ts";
import type { Formatter } from "../log/formatter.ts";
import type { Logger } from "../log/logger.ts";
import { StageProgress } from "../log/progress.ts";

export type Loaders<Info extends SegmentInfo> = Partial<Record<Split, BatchSource<Info>>>;

export class StageData<Info extends SegmentInfo> {
  readonly loaders: Loaders<Info>;
  private readonly cfg: RunConfig;
  private readonly log: Logger;
  private readonly formatter: Formatter;
  /** Splits of which it was said that not all samples are used. */
  private readonly limited = new Set<Split>();

  constructor(cfg: RunConfig, loaders: Loaders<Info>, log: Logger, formatter: Formatter) {
    this.cfg = cfg;
    this.loaders = loaders;
    this.log = log;
    this.formatter = formatter;
  }

  /** Updates of one train stage: what the config asks for, or fewer when the data set has no more. */
  get updatesPerEpoch(): number {
    const available = Math.floor((this.loaders.train?.length ?? 0) / this.accumulate);
    return Math.min(this.cfg.optim.updates_per_epoch ?? available, available);
  }

  /** Batches of one update. */
  get accumulate(): number {
    return this.cfg.optim.accumulate ?? 1;
  }

  /** Says what an epoch is. @throws UserError when the train split has too few batches for an update */
  describeTraining(): void {
    const { train } = this.loaders;
    const { optim, dataset } = this.cfg;
    if (!train) return;
    if (this.updatesPerEpoch === 0) {
      throw new UserError(
        `optim.accumulate=${this.accumulate}: the train split has only ${train.length} batches, ` +
          "too few for one update; use fewer, or a smaller dataset.batch_size",
      );
    }
    this.log.info(
      `training: ${optim.epochs} epochs of ${this.updatesPerEpoch} updates, ${train.options.batchSize} x ` +
        `${dataset.segment_duration} s each`,
    );
    if ((optim.updates_per_epoch ?? 0) > this.updatesPerEpoch) {
      this.log.warn(
        `optim.updates_per_epoch=${optim.updates_per_epoch}, but the data set gives ${this.updatesPerEpoch} updates an epoch (dataset.train.num_samples, dataset.batch_size)`,
      );
    }
  }

  /**
   * Batches of a stage after training. `stage_samples=auto` takes at most as many samples as an epoch trains on, so that a
   * short trial run is not followed by the validation of a long one.
   */
  batches(split: Split): number {
    const loader = this.loaders[split]!;
    const limit = this.cfg.stage_samples ?? null;
    if (limit === null) return loader.length;
    const { batchSize } = loader.options;
    const trained = this.updatesPerEpoch * (this.loaders.train?.options.batchSize ?? batchSize);
    const samples = limit === "auto" ? trained || Number.POSITIVE_INFINITY : (limit as number);
    const batches = Math.min(loader.length, Math.max(1, Math.ceil(samples / batchSize)));
    if (batches < loader.length && !this.limited.has(split)) {
      this.limited.add(split);
      const why = limit === "auto" ? "as many as an epoch trains on" : `stage_samples=${limit}`;
      this.log.info(
        `${split}: ${batches} of ${loader.length} batches, ${why} (stage_samples=null takes all)`,
      );
    }
    return batches;
  }

  /** `batches`: of an iteration, of which `start` were done before. */
  progress(
    stage: string,
    epoch: number,
    total: number,
    loader: BatchSource<Info>,
    { start = 0, batches = 1 } = {},
  ): StageProgress {
    const segment = this.cfg.dataset.segment_duration ?? 0;
    return new StageProgress(this.log, {
      stage,
      epoch,
      total,
      start,
      updates: this.cfg.logging.log_updates,
      formatter: this.formatter,
      audioSecondsPerIteration: batches * loader.options.batchSize * segment,
    });
  }

  /** What the reading of an epoch took since `from` and, where training starves, what to do. */
  report(from: DataMoment, to: DataMoment, loader: BatchSource<Info>): void {
    const numWorkers = loader.options.numWorkers ?? 0;
    const { summary, advice } = reportOnData(from, to, { numWorkers, sampleRate: this.cfg.sample_rate });
    this.log.info(summary);
    if (advice) this.log.warn(advice);
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.loaders).map((loader) => loader.close()));
  }
}

/** @throws UserError that names a split that the run needs and has no source */
export function requireSplits(cfg: RunConfig, loaders: Partial<Record<Split, unknown>>): void {
  const needed = cfg.execute_only === null ? (["train", "valid"] as const) : [cfg.execute_only as Split];
  for (const split of needed) {
    if (!loaders[split]) throw new UserError(`datasource.${split} is null, but this run needs it`);
  }
}
