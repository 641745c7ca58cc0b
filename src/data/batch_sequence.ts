/** Sequences of batches: parts of them, and in groups. */

/** The first batch, again and again: to time training without loading (`benchmark_no_load`). */
export async function* repeated<T>(batches: AsyncGenerator<T, void, void>): AsyncGenerator<T, void, void> {
  const { value } = await batches.next();
  await batches.return();
  while (value !== undefined) yield value as T;
}

/** Batches in groups of `size`; what is left over at the end is dropped. */
export async function* grouped<T>(
  batches: AsyncGenerator<T, void, void>,
  size: number,
): AsyncGenerator<T[], void, void> {
  let group: T[] = [];
  for await (const batch of batches) {
    group.push(batch);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
}

/** The first `count` batches; ends the source when it has them. */
export async function* first<T>(
  count: number,
  batches: AsyncGenerator<T, void, void>,
): AsyncGenerator<T, void, void> {
  if (count <= 0) return;
  let done = 0;
  for await (const batch of batches) {
    yield batch;
    if (++done >= count) return;
  }
}
