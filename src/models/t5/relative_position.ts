/** T5's buckets of relative positions: near distances have one each, far ones share, in steps that grow. */

/**
 * Bucket of key j as seen from query i, at [i * length + j]. Half of the buckets are for keys that come later; of each
 * half, one half is exact and the other logarithmic up to `maxDistance`, which the last bucket includes with all beyond.
 */
export function relativePositionBuckets(
  length: number,
  numBuckets: number,
  maxDistance: number,
): Int32Array<ArrayBuffer> {
  const perSign = Math.floor(numBuckets / 2);
  const bucketOf = Int32Array.from({ length }, (_, d) => distanceBucket(d, perSign, maxDistance));
  const buckets = new Int32Array(length * length);
  for (let i = 0; i < length; i++) {
    for (let j = 0; j < length; j++) {
      buckets[i * length + j] = bucketOf[Math.abs(j - i)] + (j > i ? perSign : 0);
    }
  }
  return buckets;
}

/** Rounds to float32 at each step, as the original does, so that distances on a boundary fall on the same side. */
function distanceBucket(distance: number, buckets: number, maxDistance: number): number {
  const exact = Math.floor(buckets / 2);
  if (distance < exact) return distance;
  const { fround } = Math;
  const log = fround(Math.log(fround(distance / exact)));
  const step = fround(fround(log / fround(Math.log(maxDistance / exact))) * (buckets - exact));
  return Math.min(exact + Math.floor(step), buckets - 1);
}
