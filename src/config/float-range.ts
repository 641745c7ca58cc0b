/**
 * `range(0.1, 0.5, 0.1)` as Hydra counts it: in decimals that begin as the exact values of the floats, each sum rounded
 * to 28 digits (Python's default for `Decimal`), then turned into floats. Plain float sums would drift away from it.
 */

/** start, start + step, ... below stop (above it, for a negative step). */
export function floatRange(start: number, stop: number, step: number): number[] {
  if (![start, stop, step].every(Number.isFinite)) return [];
  const end = exactDecimal(stop);
  const increment = exactDecimal(step);
  const values: number[] = [];
  for (let x = exactDecimal(start); isBefore(x, end, step > 0); x = rounded(sum(x, increment))) {
    values.push(Number(`${x.digits}e${x.exponent}`));
  }
  return values;
}

/** digits * 10^exponent */
interface Decimal {
  digits: bigint;
  exponent: number;
}

const PRECISION = 28;

function exactDecimal(x: number): Decimal {
  let exponent = 0;
  let mantissa = x;
  // Doubling is exact: after at most 1074 steps the number is an integer m, and x = m / 2^n = m 5^n / 10^n.
  while (!Number.isInteger(mantissa)) {
    mantissa *= 2;
    exponent--;
  }
  return { digits: BigInt(mantissa) * 5n ** BigInt(-exponent), exponent };
}

function aligned(a: Decimal, b: Decimal): [bigint, bigint, number] {
  const exponent = Math.min(a.exponent, b.exponent);
  const scale = (x: Decimal) => x.digits * 10n ** BigInt(x.exponent - exponent);
  return [scale(a), scale(b), exponent];
}

function sum(a: Decimal, b: Decimal): Decimal {
  const [x, y, exponent] = aligned(a, b);
  return { digits: x + y, exponent };
}

function isBefore(x: Decimal, end: Decimal, ascending: boolean): boolean {
  const [a, b] = aligned(x, end);
  return ascending ? a < b : a > b;
}

/** To 28 digits, halves to even. */
function rounded({ digits, exponent }: Decimal): Decimal {
  const magnitude = digits < 0n ? -digits : digits;
  const excess = magnitude.toString().length - PRECISION;
  if (excess <= 0) return { digits, exponent };
  const unit = 10n ** BigInt(excess);
  let quotient = magnitude / unit;
  const twice = (magnitude % unit) * 2n;
  if (twice > unit || (twice === unit && quotient % 2n === 1n)) quotient++;
  return { digits: digits < 0n ? -quotient : quotient, exponent: exponent + excess };
}
