/** Batches of token ids, padded. */

export interface TokenBatch {
  /** Int32 [B * length] */
  ids: Int32Array;
  /** Float32 [B * length]: 1 on tokens, 0 on padding */
  mask: Float32Array;
  length: number;
}

/** Rows of ids of any lengths -> one batch, padded at the end to the longest, at least one column wide. */
export function padRows(rows: readonly (readonly number[])[], padIndex: number): TokenBatch {
  const length = Math.max(1, ...rows.map((row) => row.length));
  const ids = new Int32Array(rows.length * length).fill(padIndex);
  const mask = new Float32Array(rows.length * length);
  for (const [i, row] of rows.entries()) {
    ids.set(row, i * length);
    mask.fill(1, i * length, i * length + row.length);
  }
  return { ids, mask, length };
}
