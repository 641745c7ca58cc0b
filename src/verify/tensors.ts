/** Golden tensors as TensorFlow's. */
import type { WeightsReader } from "../checkpoint/safetensors.ts";
import { type Tensor, tf } from "../runtime/index.ts";
import type { GoldenFolder } from "./folder.ts";
import { numbers } from "./folder.ts";

/** The tensor `name` of `<file>.safetensors`: float32, or int32 for integers and booleans. */
export function tensorOf(folder: GoldenFolder, file: string, name: string): Tensor {
  return readTensor(folder.tensors(file), name);
}

export function readTensor(reader: WeightsReader, name: string): Tensor {
  const values = numbers(reader, name);
  const shape = [...reader.shape(name)];
  return values instanceof Int32Array
    ? (tf.tensor(values, shape, "int32") as Tensor)
    : (tf.tensor(values, shape) as Tensor);
}
