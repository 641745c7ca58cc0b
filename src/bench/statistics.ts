/** Summaries of repeated measurements. */

export interface Spread {
  median: number;
  lowest: number;
  highest: number;
}

/** Throws RangeError for no values. */
export function spread(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError("there is nothing to summarise");
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, lowest: sorted[0], highest: sorted[sorted.length - 1] };
}

/**
 * By how much a quantity that is sampled in regular intervals has grown: the median of its last third against that of its middle
 * third. The first third does not count: caches and pools fill.
 */
export function growth(samples: readonly number[]): number {
  const third = Math.floor(samples.length / 3);
  if (third === 0) throw new RangeError("too few samples to see growth");
  return spread(samples.slice(-third)).median - spread(samples.slice(third, 2 * third)).median;
}
