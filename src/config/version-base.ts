/** The Hydra version whose rules a tree was written for. AudioCraft composes with 1.1. */
export type VersionBase = "1.1" | "1.2" | "1.3";

/** Up to 1.1, `_group_` and `_name_` in package headers and `@` are keywords, and old forms of items are accepted. */
export function nameKeywords(version: VersionBase): boolean {
  return version === "1.1";
}
