/** Scalars of a config and their Python text: a config distinguishes `1` from `1.0`, and signatures depend on it. */

/** `bigint` is an integer, `number` a float: the two types a config keeps apart. */
export type Scalar = null | boolean | string | bigint | number | Uint8Array;

const INT = /^[+-]?(?:0|[1-9](?:_?[0-9])*)$/;
const DIGITS = "[0-9](?:_?[0-9])*";
const INT_PART = "(?:0|[1-9](?:_?[0-9])*)";
const POINT = `(?:${INT_PART}?\\.${DIGITS}|${INT_PART}\\.)`;
const FLOAT = new RegExp(
  `^[+-]?(?:${POINT}|(?:${INT_PART}|${POINT})[eE][+-]?${DIGITS}|[Ii][Nn][Ff]|[Nn][Aa][Nn])$`,
);

/**
 * The value of an unquoted word in an override or in a resolver's arguments: null, booleans (any case), integers and
 * floats with `_` between digits; every other word is a string.
 */
export function typedWord(word: string): Scalar {
  const lower = word.toLowerCase();
  if (lower === "null") return null;
  if (lower === "true") return true;
  if (lower === "false") return false;
  if (INT.test(word)) return parseInteger(word.replaceAll("_", ""));
  if (FLOAT.test(word)) return parseFloatWord(word.replaceAll("_", ""));
  return word;
}

/** Decimal digits with an optional sign -> bigint. */
export function parseInteger(text: string): bigint {
  const negative = text.startsWith("-");
  const digits = BigInt(text.replace(/^[+-]/, ""));
  return negative ? -digits : digits;
}

/** Python's `float(text)` for the forms the grammars let through, `inf` and `nan` in any case. */
export function parseFloatWord(text: string): number {
  const lower = text.toLowerCase().replace(/^\+/, "");
  if (lower === "inf") return Number.POSITIVE_INFINITY;
  if (lower === "-inf") return Number.NEGATIVE_INFINITY;
  if (lower === "nan" || lower === "-nan") return Number.NaN;
  return Number(text);
}

/** Python's `repr` of a float: `1.0`, `1e-05`, `1e+16`, `inf`, `nan`. */
export function floatRepr(x: number): string {
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  if (Object.is(x, -0)) return "-0.0";
  const [mantissa, exponentText] = x.toExponential().split("e") as [string, string];
  const exponent = Number(exponentText);
  if (x !== 0 && (exponent < -4 || exponent >= 16)) {
    const sign = exponent < 0 ? "-" : "+";
    return `${mantissa}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  const text = String(x);
  return text.includes(".") ? text : `${text}.0`;
}

/** Python's `str` of a scalar. */
export function pyStr(value: Scalar): string {
  return typeof value === "string" ? value : pyRepr(value);
}

/** Python's `repr` of a scalar. */
export function pyRepr(value: Scalar): string {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number") return floatRepr(value);
  if (typeof value === "string") return stringRepr(value);
  return `b${stringRepr(String.fromCharCode(...value))}`;
}

function stringRepr(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let out = quote;
  for (const c of text) {
    if (c === "\\" || c === quote) out += `\\${c}`;
    else if (c === "\n") out += "\\n";
    else if (c === "\r") out += "\\r";
    else if (c === "\t") out += "\\t";
    else if (c < " " || c === "\x7f") out += `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`;
    else out += c;
  }
  return out + quote;
}

/** Python's `==` between scalars: `1 == 1.0 == True`, `nan != nan`, `"1" != 1`. */
export function pyEqual(a: Scalar, b: Scalar): boolean {
  const x = comparable(a);
  const y = comparable(b);
  if (x instanceof Uint8Array || y instanceof Uint8Array) {
    return x instanceof Uint8Array && y instanceof Uint8Array && Buffer.compare(x, y) === 0;
  }
  // biome-ignore lint/suspicious/noDoubleEquals: bigint and number compare by value only with ==
  if (isNumeric(x) && isNumeric(y)) return x == y;
  return x === y;
}

/** Sets a key as a Python dict does: of equal keys (`1`, `1.0`, `True`) the first stays, with the last value. */
export function setKey<V>(map: Map<Scalar, V>, key: Scalar, value: V): void {
  const same = isNumeric(comparable(key)) ? [...map.keys()].find((other) => pyEqual(other, key)) : undefined;
  map.set(same ?? key, value);
}

function comparable(value: Scalar): Exclude<Scalar, boolean> {
  return typeof value === "boolean" ? (value ? 1n : 0n) : value;
}

function isNumeric(value: unknown): value is bigint | number {
  return typeof value === "bigint" || typeof value === "number";
}
