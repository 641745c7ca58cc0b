/** The golden tensors of test/golden/codec_training and the settings that made them. */
import { readFileSync } from "node:fs";
import { openSafetensors, type WeightsReader } from "../../src/checkpoint/safetensors.ts";
import type { TensorSource } from "../../src/nn/index.ts";
import { type Tensor, tf } from "../../src/runtime/index.ts";

const folder = new URL("../golden/codec_training/", import.meta.url);

type Section = Record<string, unknown>;

export const settings = JSON.parse(readFileSync(new URL("settings.json", folder), "utf8")) as {
  losses: Record<string, Section>;
  discriminators: Record<string, Section>;
};

export function goldenFile(name: string): WeightsReader {
  return openSafetensors(new URL(`${name}.safetensors`, folder).pathname);
}

export function goldenTensor(file: WeightsReader, name: string): Tensor {
  const shape = [...file.shape(name)];
  if (file.dtype(name) === "I32") return tf.tensor(file.read(name) as Int32Array, shape, "int32");
  return tf.tensor(file.readFloat32(name), shape);
}

/** The tensors whose names begin with `prefix`, without it. */
export function part(file: WeightsReader, prefix: string): TensorSource {
  return {
    path: file.path,
    names: file.names.flatMap((name) => (name.startsWith(prefix) ? name.slice(prefix.length) : [])),
    shape: (name) => file.shape(prefix + name),
    readFloat32: (name) => file.readFloat32(prefix + name),
  };
}
