/** Checks a composed config against a schema. */
import { UserError } from "../errors.ts";
import type { ComposedConfig } from "./config.ts";
import { describeSource } from "./node.ts";
import type { Problem, Schema } from "./schema-types.ts";

/** The config's plain values. Throws one UserError that lists what is wrong, where it was set and what would do. */
export function validated<T>(config: ComposedConfig, schema: Schema<T>): T {
  const values = config.toObject({ keepMissing: true });
  const problems: Problem[] = [];
  schema.check(values, "", problems);
  if (problems.length === 0) return values as unknown as T;
  const shown = problems.slice(0, 10).map((problem) => describe(problem, config));
  const rest = problems.length > 10 ? `\n  and ${problems.length - 10} more` : "";
  throw new UserError(`the config is not valid:\n  ${shown.join("\n  ")}${rest}`);
}

function describe({ path, message, suggestion }: Problem, config: ComposedConfig): string {
  const where = describeSource(config.source(path));
  const hint = suggestion ? `; did you mean ${suggestion}?` : "";
  return `${path}: ${message}${hint}${where ? ` (set by ${where})` : ""}`;
}
