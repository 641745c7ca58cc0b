/** What is said, and done, when training goes wrong: losses that are not finite, updates left out, a loss that climbs. */
import type { Batch } from "../data/batch.ts";
import { DivergedError } from "../errors.ts";
import { averager } from "../log/averager.ts";
import { newestCheckpoint } from "../xp/folder.ts";
import type { Run } from "./run.ts";
import type { Metrics } from "./stage_metrics.ts";

/** Updates in a row that may be left out. */
const SKIPS_IN_A_ROW = 50;
/** Updates over which the loss is averaged to see it climb, and by how many nats. */
const WINDOW = 100;
const CLIMB = 0.5;

export interface Where {
  epoch: number;
  /** Of the epoch, from 1. */
  update: number;
  batches: Batch[];
}

export class TrainingFailures {
  private readonly run: Run;
  private readonly skips: boolean;
  private readonly loss: string;
  private skippedInARow = 0;
  private readonly average = averager(1 - 1 / WINDOW);
  private steps = 0;
  private lowest = Number.POSITIVE_INFINITY;

  /**
   * `skips`: updates that are not finite are left out, instead of ending the run. `loss`: the metric that is minimised, by
   * default in nats, whose climbing says something; a balanced loss is only looked at for being finite.
   */
  constructor(run: Run, { skips, loss = "ce" }: { skips: boolean; loss?: string }) {
    this.run = run;
    this.skips = skips;
    this.loss = loss;
  }

  /** Looks at the metrics of an update. @throws DivergedError when going on makes no sense */
  check(metrics: Metrics, where: Where): void {
    const { [this.loss]: loss, grad_norm: norm = 0, skipped } = metrics;
    if (skipped) {
      this.skip(metrics, where);
      return;
    }
    this.skippedInARow = 0;
    if (!Number.isFinite(loss) || !Number.isFinite(norm)) {
      throw new DivergedError(
        `${place(where)} the loss is ${loss} and the gradient norm ${norm}: the model diverged. ${this.lastCheckpoint()}\n` +
          `The batch came from\n${files(where.batches)}\n` +
          "Try a lower optim.lr, a longer warm-up or a smaller optim.max_norm" +
          (this.loss === "ce" ? "; optim.skip_nonfinite=true leaves such updates out." : "."),
      );
    }
    if (this.loss === "ce") this.watch(loss, where);
  }

  /** For a validation whose loss is not finite. */
  validation(loss: number, epoch: number): DivergedError {
    return new DivergedError(
      `in the validation of epoch ${epoch} the loss is ${loss}: the model diverged. ${this.lastCheckpoint()}\n` +
        "Try a lower optim.lr, a longer warm-up or a smaller optim.max_norm.",
    );
  }

  private skip({ ce, grad_scale: scale }: Metrics, where: Where): void {
    this.skippedInARow++;
    const scaled = scale === undefined ? "" : `; loss scale now ${scale}`;
    this.run.log.warn(`${place(where)} left out: loss ${ce}, gradients not finite${scaled}`);
    if (!this.skips || this.skippedInARow >= SKIPS_IN_A_ROW) {
      throw new DivergedError(
        `${place(where)} the last ${this.skippedInARow} updates had gradients that are not finite: the model diverged. ` +
          `${this.lastCheckpoint()}\nThe batch came from\n${files(where.batches)}\nTry a lower optim.lr or a longer warm-up.`,
      );
    }
  }

  /** Says so, once, when the average loss climbs far above its lowest value. */
  private watch(ce: number, where: Where): void {
    const { ce: average } = this.average({ ce });
    if (++this.steps < WINDOW) return;
    this.lowest = Math.min(this.lowest, average);
    if (average < this.lowest + CLIMB) return;
    this.lowest = Number.POSITIVE_INFINITY;
    this.steps = 0;
    this.run.log.warn(
      `${place(where)} the loss has climbed by ${CLIMB} from its lowest average: training may be diverging. ` +
        `Try a lower optim.lr, a longer warm-up or a smaller optim.max_norm. ${this.lastCheckpoint()}`,
    );
  }

  private lastCheckpoint(): string {
    const path = newestCheckpoint(this.run.folder);
    return path ? `The last good checkpoint is ${path}.` : "There is no checkpoint yet.";
  }
}

function place({ epoch, update }: Where): string {
  return `update ${update} of epoch ${epoch}:`;
}

function files(batches: Batch[]): string {
  const rows = batches.flatMap(({ infos }) => infos);
  const shown = rows.slice(0, 16).map(({ meta, seekTime }) => `  ${meta.path} at ${seekTime.toFixed(2)} s`);
  return [...shown, ...(rows.length > 16 ? [`  and ${rows.length - 16} more`] : [])].join("\n");
}
