/** Grid arguments -> command line: `{"optim.lr": 0.1}`, strings and lists of both, as Dora's launcher takes them. */

import { jsonScalar } from "../config/json.ts";
import { ConfigRepository } from "../config/repository.ts";
import { pyStr, type Scalar } from "../config/scalar.ts";

/** A string is one argument; a mapping gives `key=value` for each entry; lists are taken apart. Floats are `number`s. */
export type LaunchArgument = string | LaunchArgument[] | Map<string, LaunchValue>;
export type LaunchValue = Scalar | LaunchValue[] | Map<string, LaunchValue>;

/** The arguments of one experiment of a grid as `key=value` strings. A group's option is written bare, other strings quoted. */
export function launchArgv(argument: LaunchArgument, configDir: string): string[] {
  const groups = new Set(new ConfigRepository([configDir], "1.1").groups());
  return flatten(argument, groups);
}

function flatten(argument: LaunchArgument, groups: Set<string>): string[] {
  if (typeof argument === "string") return [argument];
  if (Array.isArray(argument)) return argument.flatMap((item) => flatten(item, groups));
  return [...argument].map(([key, value]) => {
    const bare = groups.has(key) && !Array.isArray(value) && !(value instanceof Map);
    return `${key}=${bare ? pyStr(value) : valueText(value)}`;
  });
}

function valueText(value: LaunchValue): string {
  if (Array.isArray(value)) return `[${value.map(valueText).join(", ")}]`;
  if (value instanceof Map)
    return `{${[...value].map(([key, item]) => `${key}: ${valueText(item)}`).join(", ")}}`;
  return jsonScalar(value);
}
