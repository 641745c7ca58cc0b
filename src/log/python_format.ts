/** Numbers as Python's `format(value, spec)` writes them, digit by digit. */

/**
 * `value` by a spec of a precision and one of f, F, e, E: ".3f" -> "1.234", ".2E" -> "1.00E-04". Rounds to nearest, ties of
 * the exact value to even; the exponent has at least two digits.
 * @throws RangeError for another spec
 */
export function formatNumber(value: number, spec: string): string {
  const match = /^\.(\d{1,2})([fFeE])$/.exec(spec);
  if (!match) throw new RangeError(`number format "${spec}": only .<digits> with f, F, e or E is known`);
  const digits = Number(match[1]);
  const kind = match[2];
  const magnitude = Math.abs(value);
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  const text = sign + (kind.toLowerCase() === "f" ? fixed(magnitude, digits) : scientific(magnitude, digits));
  return kind === "E" || kind === "F" ? text.toUpperCase() : text;
}

function fixed(magnitude: number, digits: number): string {
  if (!Number.isFinite(magnitude)) return notFinite(magnitude);
  // from 1e21 on, toFixed switches to exponents; such numbers are integers
  if (magnitude >= 1e21) return `${BigInt(magnitude)}${digits > 0 ? `.${"0".repeat(digits)}` : ""}`;
  return tieToEven(magnitude.toFixed(digits), magnitude.toFixed(Math.min(100, digits + 30)), digits);
}

function scientific(magnitude: number, digits: number): string {
  if (!Number.isFinite(magnitude)) return notFinite(magnitude);
  const [exact, exactExponent] = magnitude.toExponential(Math.min(100, digits + 30)).split("e");
  const [rounded, roundedExponent] = magnitude.toExponential(digits).split("e");
  const mantissa = tieToEven(rounded, exact, digits);
  const exponent = Number(mantissa === rounded ? roundedExponent : exactExponent);
  return `${mantissa}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

/** JavaScript rounds a tie up. `exact` has enough digits to see that it is one: then the even neighbour is taken. */
function tieToEven(rounded: string, exact: string, digits: number): string {
  const point = exact.indexOf(".");
  const cut = point + 1 + digits;
  const isTie = /^50*$/.test(exact.slice(cut));
  const kept = digits > 0 ? exact.slice(0, cut) : exact.slice(0, point);
  return isTie && Number(kept.at(-1)) % 2 === 0 ? kept : rounded;
}

function notFinite(magnitude: number): string {
  return Number.isNaN(magnitude) ? "nan" : "inf";
}
