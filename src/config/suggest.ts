/** "Did you mean …?": the nearest known name to a mistyped one. */
import { type Container, children, isContainer, keyText } from "./node.ts";

/** The name among `candidates` within a few edits of `name`, or undefined. */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.ceil(name.length * 0.4));
  for (const candidate of candidates) {
    if (candidate === name) continue;
    const distance = editDistance(name, candidate, bestDistance);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/**
 * The key of a config that `path` most likely means: the same last word elsewhere in the tree (`max_norm` ->
 * `optim.max_norm`), else the path with the fewest edits.
 */
export function suggestKey(root: Container, path: string): string | undefined {
  const paths = [...keyPaths(root, "")];
  const lastWord = (key: string) => key.slice(key.lastIndexOf(".") + 1);
  const word = lastWord(path);
  const siblings = paths.filter((key) => parentOf(key) === parentOf(path));
  const sibling = nearest(word, siblings.map(lastWord));
  if (sibling !== undefined) return parentOf(path) === "" ? sibling : `${parentOf(path)}.${sibling}`;
  const sameWord = paths.filter((key) => lastWord(key) === word);
  if (sameWord.length > 0) return sameWord.sort((a, b) => a.length - b.length)[0];
  return nearest(path, paths);
}

function parentOf(path: string): string {
  const dot = path.lastIndexOf(".");
  return dot < 0 ? "" : path.slice(0, dot);
}

function* keyPaths(node: Container, prefix: string): Generator<string> {
  for (const [key, child] of children(node)) {
    const path = prefix === "" ? keyText(key) : `${prefix}.${keyText(key)}`;
    yield path;
    if (isContainer(child)) yield* keyPaths(child, path);
  }
}

/** Levenshtein distance with transposition of neighbours; anything at or above `limit` counts as `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let previous: number[] = [];
  let current = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = current[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(current[j]! + 1, next[j - 1]! + 1, substitution);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        next[j] = Math.min(next[j]!, previous[j - 2]! + 1);
    }
    previous = current;
    current = next;
  }
  return Math.min(current[b.length]!, limit);
}
