/** JSON files that come with weights. */
import { readFileSync } from "node:fs";
import { UserError } from "../errors.ts";

/** @throws UserError naming the file when it cannot be read, or is no JSON */
export function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new UserError(`${path}: cannot be read as JSON: ${(error as Error).message}`);
  }
}

/** @throws UserError naming the file when it cannot be read, or holds no object */
export function readJsonObject(path: string): Record<string, unknown> {
  const value = readJson(path);
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new UserError(`${path}: a JSON object expected`);
}
