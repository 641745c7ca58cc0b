/** Metrics of a stage: their mean over its steps, in a form that a checkpoint can hold in the middle of an epoch. */

export type Metrics = Record<string, number>;

export type { EpochMetrics } from "../xp/folder.ts";

export class MeanMetrics {
  private sums: Metrics = {};
  private steps = 0;

  add(metrics: Metrics): void {
    this.steps++;
    for (const [name, value] of Object.entries(metrics)) this.sums[name] = (this.sums[name] ?? 0) + value;
  }

  mean(): Metrics {
    return Object.fromEntries(Object.entries(this.sums).map(([name, sum]) => [name, sum / this.steps]));
  }

  state(): { sums: Metrics; steps: number } {
    return { sums: { ...this.sums }, steps: this.steps };
  }

  restore({ sums, steps }: { sums: Metrics; steps: number }): void {
    this.sums = { ...sums };
    this.steps = steps;
  }
}
