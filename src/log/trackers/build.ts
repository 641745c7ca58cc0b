/** The trackers that a config asks for. */
import { join } from "node:path";
import { type MlflowConfig, MlflowTracker } from "./mlflow.ts";
import { TensorBoardTracker } from "./tensorboard.ts";
import type { Metrics, RunDescription, TrackedSample, Tracker } from "./tracker.ts";
import { type WandbConfig, WandbTracker } from "./wandb.ts";

export interface TrackingConfig {
  logging: { log_tensorboard: boolean; log_wandb: boolean; log_mlflow?: boolean };
  tensorboard: { with_media_logging: boolean; sub_dir: string | null };
  wandb: unknown;
  mlflow?: unknown;
}

/** What has already been told in an earlier part of the run, stage by stage. */
export type History = Record<string, Metrics>[];

/** All of a run's trackers as one. */
export class Trackers implements Tracker {
  private readonly trackers: { tracker: Tracker; media: boolean }[] = [];

  /** `history` is told to TensorBoard again, whose files start anew; the services have it. @throws UserError */
  constructor(config: TrackingConfig, run: RunDescription, history: History) {
    const { logging, tensorboard, wandb, mlflow } = config;
    if (logging.log_tensorboard) {
      const tracker = new TensorBoardTracker(join(run.folder, "tensorboard", tensorboard.sub_dir ?? ""), run);
      for (const [index, epoch] of history.entries()) {
        for (const [stage, metrics] of Object.entries(epoch)) tracker.metrics(stage, metrics, index + 1);
      }
      this.trackers.push({ tracker, media: tensorboard.with_media_logging });
    }
    if (logging.log_wandb) {
      const options = wandb as WandbConfig;
      this.trackers.push({
        tracker: new WandbTracker(options, run),
        media: options.with_media_logging ?? false,
      });
    }
    if (logging.log_mlflow) {
      this.trackers.push({ tracker: new MlflowTracker(mlflow as MlflowConfig, run), media: true });
    }
  }

  /** Whether anyone takes samples. */
  get wantSamples(): boolean {
    return this.trackers.some(({ media }) => media);
  }

  metrics(stage: string, metrics: Metrics, epoch: number): void {
    for (const { tracker } of this.trackers) tracker.metrics(stage, metrics, epoch);
  }

  sample(sample: TrackedSample, epoch: number): void {
    for (const { tracker, media } of this.trackers) if (media) tracker.sample?.(sample, epoch);
  }

  /** Whether anyone takes samples of earlier parts of the run once more. */
  get wantEarlierSamples(): boolean {
    return this.trackers.some(({ tracker, media }) => media && tracker instanceof TensorBoardTracker);
  }

  /** A sample of an earlier part of the run, for those who start anew. */
  earlierSample(sample: TrackedSample, epoch: number): void {
    for (const { tracker, media } of this.trackers)
      if (media && tracker instanceof TensorBoardTracker) tracker.sample(sample, epoch);
  }

  async finish(state: "finished" | "interrupted" | "failed"): Promise<void> {
    await Promise.all(this.trackers.map(({ tracker }) => tracker.finish(state)));
  }
}
