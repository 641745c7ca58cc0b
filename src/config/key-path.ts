/** Dotted keys: `a.b[0].c` -> its parts. */

/** A key with leading dots is relative: `up` counts them (0: absolute). */
export interface KeyPath {
  up: number;
  parts: string[];
}

/** `a.b`, `a[b].c`, `[a]`, `..x`. An unclosed bracket is ignored, as OmegaConf does. */
export function parseKeyPath(key: string): KeyPath {
  const dots = /^\.*/.exec(key)?.[0].length ?? 0;
  const rest = key.slice(dots);
  // Dots alone name the container itself.
  if (rest === "" && dots > 0) return { up: dots, parts: [] };
  const head = /^[^.[]*/.exec(rest)?.[0] ?? "";
  const parts = head === "" && rest.startsWith("[") ? [] : [head];
  for (const match of rest.slice(head.length).matchAll(/\.([^.[]*)|\[(.*?)\]/g))
    parts.push(match[1] || (match[2] ?? ""));
  return { up: dots, parts };
}
