/** The values of a pickle that JavaScript has no type of its own for. */
import { UserError } from "../../errors.ts";

const MAX_KEY_LENGTH = 10_000;

/** A Python dict: no prototype, keys as strings (an int key 3 is "3"). */
export type Dict = Record<string, unknown>;

/** A class or function that the world lets a pickle mention. */
export class PyGlobal {
  /** "module.name" */
  readonly id: string;

  constructor(id: string) {
    this.id = id;
  }
}

export function emptyDict(): Dict {
  return Object.create(null) as Dict;
}

export function isDict(value: unknown): value is Dict {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === null;
}

/** @throws UserError for a key that is there already (no pickle sets one twice) or that is no plain value */
export function setKey(dict: Dict, key: unknown, value: unknown): void {
  const name = keyName(key);
  if (name.length > MAX_KEY_LENGTH) throw new UserError("a dict has an absurdly long key");
  if (name in dict) throw new UserError(`a dict has the key ${JSON.stringify(name.slice(0, 100))} twice`);
  dict[name] = value;
}

function keyName(key: unknown): string {
  if (typeof key === "string") return key;
  if (key === null || ["number", "bigint", "boolean"].includes(typeof key)) return String(key);
  if (key instanceof PyGlobal) return key.id;
  // a tuple of such, as caches have
  if (Array.isArray(key) && key.length <= 8 && !key.some(Array.isArray))
    return `(${key.map(keyName).join(", ")})`;
  throw new UserError("a dict has a key that is neither text nor a number");
}
