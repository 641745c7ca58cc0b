/** OmegaConf's YAML scalar rules: YAML 1.1 as PyYAML reads it, with floats like `1e-4` and without dates. */
import { UserError } from "../errors.ts";
import { parseInteger, type Scalar } from "./scalar.ts";

const BOOL = /^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$/;
const NULL = /^(?:~|null|Null|NULL|)$/;
const INT =
  /^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$/;
const FLOAT = new RegExp(
  [
    "^(?:[-+]?[0-9][0-9_]*\\.[0-9_]*",
    // With an exponent, underscores before it must stand between digits.
    "[-+]?[0-9](?:_?[0-9])*(?:\\.[0-9_]*)?[eE][-+]?[0-9]+",
    "\\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?",
    "[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\\.[0-9_]*",
    "[-+]?\\.(?:inf|Inf|INF)",
    "\\.(?:nan|NaN|NAN))$",
  ].join("|"),
);

/** The type that an untagged plain scalar has; "str" when no other rule matches. */
export function implicitTag(text: string): "bool" | "int" | "float" | "null" | "merge" | "value" | "str" {
  if (BOOL.test(text)) return "bool";
  // The order is PyYAML's: what looks like both (`1_0`) is first tried as an integer, apart from `1.`-like floats.
  if (INT.test(text)) return "int";
  if (FLOAT.test(text)) return "float";
  if (NULL.test(text)) return "null";
  if (text === "<<") return "merge";
  if (text === "=") return "value";
  return "str";
}

/** A plain scalar -> value. Throws UserError for the two forms that have a tag but no value (`=`, `<<`). */
export function plainScalar(text: string): Scalar {
  const tag = implicitTag(text);
  if (tag === "merge" || tag === "value") throw new UserError(`'${text}' is not a value in YAML; quote it`);
  return scalarOfTag(tag, text);
}

/** The value of a scalar under an explicit core tag (`!!int "7"`). */
export function scalarOfTag(tag: string, text: string): Scalar {
  switch (tag) {
    case "str":
      return text;
    case "null":
      return null;
    case "bool": {
      const lower = text.toLowerCase();
      if (["yes", "true", "on"].includes(lower)) return true;
      if (["no", "false", "off"].includes(lower)) return false;
      break;
    }
    case "int":
      return yamlInteger(text);
    case "float":
      return yamlFloat(text);
    case "binary":
      return Uint8Array.from(Buffer.from(text.replace(/\s/g, ""), "base64"));
  }
  throw new UserError(`'${text}' is not a value of YAML type !!${tag}`);
}

const TIMESTAMP =
  /^(?:\d{4}-\d\d-\d\d|\d{4}-\d\d?-\d\d?(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?(?:[ \t]*(?:Z|[-+]\d\d?(?::\d\d)?))?)$/;

/** Does a string need quotes in YAML output, because unquoted it could be read as something else? Dates: elsewhere. */
export function readsAsOtherType(text: string): boolean {
  return implicitTag(text) !== "str" || TIMESTAMP.test(text);
}

function yamlInteger(text: string): bigint {
  let digits = text.replaceAll("_", "");
  const negative = digits.startsWith("-");
  digits = digits.replace(/^[-+]/, "");
  let value: bigint;
  if (digits === "0") value = 0n;
  else if (/^0b[01]+$/.test(digits) || /^0x[0-9a-fA-F]+$/.test(digits)) value = BigInt(digits);
  else if (/^0[0-7]+$/.test(digits)) value = BigInt(`0o${digits}`);
  else if (/^\d+(?::\d+)+$/.test(digits)) {
    value = digits.split(":").reduce((sum, part) => sum * 60n + BigInt(part), 0n);
  } else if (/^[1-9]\d*$/.test(digits)) value = parseInteger(digits);
  else throw new UserError(`'${text}' is not an integer`);
  return negative ? -value : value;
}

function yamlFloat(text: string): number {
  let digits = text.replaceAll("_", "").toLowerCase();
  const sign = digits.startsWith("-") ? -1 : 1;
  digits = digits.replace(/^[-+]/, "");
  if (digits === ".inf") return sign * Number.POSITIVE_INFINITY;
  if (digits === ".nan") return Number.NaN;
  if (digits.includes(":")) {
    return sign * digits.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  }
  const value = digits === "inf" ? Number.POSITIVE_INFINITY : Number(digits);
  if (digits === "" || (Number.isNaN(value) && digits !== "nan")) {
    throw new UserError(`'${text}' is not a floating-point number`);
  }
  return sign * value;
}
