/** Weights in several files, read as one. */
import { UserError } from "../errors.ts";
import type { WeightsReader } from "./safetensors.ts";

/**
 * @param path the folder of the shards, for messages
 * @param weightMap tensor name -> key in `shards`
 * @throws UserError when a shard lacks a tensor that it should hold
 */
export function mergeReaders(
  path: string,
  weightMap: ReadonlyMap<string, string>,
  shards: ReadonlyMap<string, WeightsReader>,
): WeightsReader {
  for (const [name, shard] of weightMap) {
    if (!shards.get(shard)?.has(name)) {
      throw new UserError(`${path}: the index says that "${name}" is in ${shard}, but it is not`);
    }
  }
  function shardOf(name: string): WeightsReader {
    const shard = weightMap.get(name);
    if (shard === undefined) {
      throw new UserError(
        `${path}: no tensor "${name}" in these files (they have ${weightMap.size} tensors)`,
      );
    }
    return shards.get(shard)!;
  }
  const readers = [...shards.values()];
  return {
    path,
    metadata: Object.assign({}, ...readers.map((reader) => reader.metadata)),
    names: [...weightMap.keys()],
    has: (name) => weightMap.has(name),
    dtype: (name) => shardOf(name).dtype(name),
    shape: (name) => shardOf(name).shape(name),
    read: (name) => shardOf(name).read(name),
    readFloat32: (name) => shardOf(name).readFloat32(name),
    verify: (onProgress) => readers.map((reader) => reader.verify(onProgress)).every(Boolean),
    close: () => {
      for (const reader of readers) reader.close();
    },
  };
}
