/** Tells whether two modules have the same weights. */
import { createHash } from "node:crypto";
import type { Module } from "./module.ts";

/** SHA-256 (hex) of a module's parameters and buffers: their names, shapes and float32 values, in the order of the names. */
export function fingerprint(module: Module): string {
  const hash = createHash("sha256");
  const parameters = module.namedParameters().sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, parameter] of parameters) {
    hash.update(`${name} ${parameter.shape.join("x")}\n`);
    const { buffer, byteOffset, byteLength } = parameter.read();
    hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return hash.digest("hex");
}
