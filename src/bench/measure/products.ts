/** What the hardware's limits are measured with. */

/** Rows, inner size, columns: the products of the models' layers, and a square one. */
export const PRODUCTS = [
  [2048, 512, 2048],
  [2048, 1024, 4096],
  [2048, 2048, 2048],
] as const;
/** More than caches hold. */
export const READ_BYTES = 2 ** 28;
