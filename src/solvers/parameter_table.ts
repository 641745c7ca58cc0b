/** Text about a model's parameters, for `show=true`. */
import type { Module } from "../nn/index.ts";

/** A line for each, with its shape and MB, and their total. */
export function parameterTable(model: Module): string {
  const rows = model
    .namedParameters()
    .map(([name, { shape, size }]) => `${name} [${shape}] ${((size * 4) / 2 ** 20).toFixed(2)} MB`);
  return [...rows, `total: ${((model.parameterCount() * 4) / 2 ** 20).toFixed(1)} MB`].join("\n");
}
