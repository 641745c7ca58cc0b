/**
 * Fits cost = constant + factor * x^exponent to measured points.
 *
 * The constant (what a step costs at any size: dispatching, the program's own memory) is searched on a grid from 0 to `MOST` of the
 * smallest cost; for each candidate, log(cost - constant) = log(factor) + exponent * log(x) is a line by least squares. The constant
 * wins whose curve has the smallest sum of squared relative errors.
 */

export interface PowerLaw {
  constant: number;
  factor: number;
  exponent: number;
  /** Root of the mean squared relative error of the curve at the points. */
  error: number;
}

export type Point = readonly [x: number, cost: number];

/** A constant closer to the smallest cost would make that point's logarithm, and so the exponent, anything. */
const MOST = 0.9;
const CANDIDATES = 900;

/** @throws RangeError for fewer than 3 points, or values that are not positive */
export function fitPowerLaw(points: readonly Point[]): PowerLaw {
  if (points.length < 3 || points.some(([x, cost]) => !(x > 0 && cost > 0)))
    throw new RangeError("a power law needs three or more points of positive values");
  const smallest = Math.min(...points.map(([, cost]) => cost));
  const fits = Array.from({ length: CANDIDATES + 1 }, (_, i) =>
    fitLine(points, (smallest * MOST * i) / CANDIDATES),
  );
  return fits.reduce((best, fit) => (fit.error < best.error ? fit : best));
}

function fitLine(points: readonly Point[], constant: number): PowerLaw {
  const logs = points.map(([x, cost]) => [Math.log(x), Math.log(cost - constant)]);
  const mean = (index: number) => logs.reduce((sum, pair) => sum + pair[index], 0) / logs.length;
  const [u, v] = [mean(0), mean(1)];
  const covariance = logs.reduce((sum, [a, b]) => sum + (a - u) * (b - v), 0);
  const variance = logs.reduce((sum, [a]) => sum + (a - u) ** 2, 0);
  const exponent = covariance / variance;
  const factor = Math.exp(v - exponent * u);
  const squares = points.map(([x, cost]) => ((constant + factor * x ** exponent) / cost - 1) ** 2);
  return { constant, factor, exponent, error: Math.sqrt(squares.reduce((a, b) => a + b, 0) / points.length) };
}

/** d log(cost) / d log(x) between the last two points. */
export function lastSlope(points: readonly Point[]): number {
  const [[x1, cost1], [x2, cost2]] = points.slice(-2);
  return Math.log(cost2 / cost1) / Math.log(x2 / x1);
}

/** How much steeper than its mathematics a cost may look: what a few percent of error in a doubling come to. */
export const TOLERATED_SLOPE = 0.15;

/**
 * Whether costs grow faster than `expected` says they must: between the last two points, where constants matter least, the cost grows
 * by more than the expected cost does, by more than errors of measuring explain; or it does so over all the points.
 */
export function growsTooFast(points: readonly Point[], expected: (x: number) => number): boolean {
  const mathematics = points.map(([x]): Point => [x, expected(x)]);
  const [first, last] = [points[0], points[points.length - 1]];
  const whole = (ends: readonly (readonly number[])[]) =>
    Math.log(ends[1][1] / ends[0][1]) / Math.log(ends[1][0] / ends[0][0]);
  return (
    lastSlope(points) > lastSlope(mathematics) + TOLERATED_SLOPE ||
    whole([first, last]) > whole([mathematics[0], mathematics[mathematics.length - 1]]) + TOLERATED_SLOPE
  );
}
