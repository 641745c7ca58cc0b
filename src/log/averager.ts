/** Running averages of metrics. */
import type { Metrics } from "./formatter.ts";

/**
 * A function that takes the metrics of one more step and returns the averages so far, of every metric seen. `beta` < 1
 * makes it an exponential moving average, without the bias of its beginning.
 */
export function averager(beta = 1): (metrics: Metrics, weight?: number) => Record<string, number> {
  const sums = new Map<string, { total: number; weight: number }>();
  return (metrics, weight = 1) => {
    for (const [name, value] of Object.entries(metrics)) {
      const sum = sums.get(name) ?? { total: 0, weight: 0 };
      sums.set(name, { total: sum.total * beta + weight * value, weight: sum.weight * beta + weight });
    }
    return Object.fromEntries(Array.from(sums, ([name, sum]) => [name, sum.total / sum.weight]));
  };
}
