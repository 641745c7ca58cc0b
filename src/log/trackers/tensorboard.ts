/** TensorBoard as a tracker. */
import type { Logger } from "../logger.ts";
import { TensorBoardEvents } from "../tfevents.ts";
import {
  flatConfig,
  type Metrics,
  type RunDescription,
  type TrackedSample,
  type Tracker,
} from "./tracker.ts";

export class TensorBoardTracker implements Tracker {
  /** Null after the disk has refused: the next start writes all of it anew. */
  private events: TensorBoardEvents | null = null;
  private readonly log: Logger;

  /** `folder` is emptied of earlier event files. */
  constructor(folder: string, { config, log }: RunDescription) {
    this.log = log;
    this.tell(() => {
      this.events = new TensorBoardEvents(folder);
      this.events.hyperParameters(flatConfig(config));
      this.events.scalars("hparams", { metrics: -1 }, 0);
    });
  }

  metrics(stage: string, metrics: Metrics, epoch: number): void {
    this.tell(() => this.events?.scalars(stage, metrics, epoch));
  }

  sample({ name, caption, wav, picture, ...shape }: TrackedSample, epoch: number): void {
    this.tell(() => {
      this.events?.audio(`generate/${name}`, wav, shape, epoch);
      this.events?.image(`generate/${name}/spectrogram`, picture, epoch);
      this.events?.text(`generate/${name}/description`, caption, epoch);
    });
  }

  async finish(): Promise<void> {}

  private tell(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.events = null;
      this.log.warn(
        `tensorboard: ${(error as Error).message}. Nothing more is written there until the run is started again.`,
      );
    }
  }
}
