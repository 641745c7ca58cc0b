/** Metrics of a stage: their mean over its steps, in a form that a checkpoint can hold in the middle of an epoch. */

export type Metrics = Record<string, number>;

export type { EpochMetrics } from "../xp/folder.ts";

/** Sums of metrics and how many values each has: not every step has every metric. */
export interface MetricSums {
  sums: Metrics;
  counts: Metrics;
}

/** Metrics that are counted, not averaged: updates that were left out. */
const COUNTED = new Set(["skipped"]);

export class MeanMetrics {
  private sums: Metrics = {};
  private counts: Metrics = {};

  add(metrics: Metrics): void {
    for (const [name, value] of Object.entries(metrics)) {
      this.sums[name] = (this.sums[name] ?? 0) + value;
      this.counts[name] = (this.counts[name] ?? 0) + 1;
    }
  }

  mean(): Metrics {
    return Object.fromEntries(
      Object.entries(this.sums).map(([name, sum]) => [
        name,
        COUNTED.has(name) ? sum : sum / this.counts[name],
      ]),
    );
  }

  state(): MetricSums {
    return { sums: { ...this.sums }, counts: { ...this.counts } };
  }

  restore({ sums, counts }: MetricSums): void {
    this.sums = { ...sums };
    this.counts = { ...counts };
  }
}
