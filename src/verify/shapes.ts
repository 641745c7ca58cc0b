/** Lists of tensors' names and shapes. */
import type { Measured } from "./check.ts";

export type NamedShape = readonly [name: string, shape: readonly number[], ...rest: unknown[]];

/** How many tensors are missing, unexpected or of another shape, and the first of them. */
export function shapeMismatches(ours: readonly NamedShape[], theirs: readonly NamedShape[]): Measured {
  const key = ([, shape]: NamedShape) => shape.join();
  const [mine, wanted] = [ours, theirs].map((list) => new Map(list.map((item) => [item[0], key(item)])));
  const names = new Set([...wanted.keys(), ...mine.keys()]);
  const wrong = [...names].filter((name) => mine.get(name) !== wanted.get(name));
  return wrong.length === 0 ? { error: 0 } : { error: wrong.length, worst: wrong[0] };
}
