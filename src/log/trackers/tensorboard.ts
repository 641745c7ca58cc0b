/** TensorBoard as a tracker. */
import { TensorBoardEvents } from "../tfevents.ts";
import {
  flatConfig,
  type Metrics,
  type RunDescription,
  type TrackedSample,
  type Tracker,
} from "./tracker.ts";

export class TensorBoardTracker implements Tracker {
  private readonly events: TensorBoardEvents;

  /** `folder` is emptied of earlier event files. */
  constructor(folder: string, { config }: RunDescription) {
    this.events = new TensorBoardEvents(folder);
    this.events.hyperParameters(flatConfig(config));
    this.events.scalars("hparams", { metrics: -1 }, 0);
  }

  metrics(stage: string, metrics: Metrics, epoch: number): void {
    this.events.scalars(stage, metrics, epoch);
  }

  sample({ name, caption, wav, picture, ...shape }: TrackedSample, epoch: number): void {
    this.events.audio(`generate/${name}`, wav, shape, epoch);
    this.events.image(`generate/${name}/spectrogram`, picture, epoch);
    this.events.text(`generate/${name}/description`, caption, epoch);
  }

  async finish(): Promise<void> {}
}
