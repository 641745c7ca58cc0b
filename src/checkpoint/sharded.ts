/** Weights in several files, read as one. */
import { readFileSync } from "node:fs";
import { UserError } from "../errors.ts";
import { isRelative } from "./hub_cache.ts";
import type { WeightsReader } from "./safetensors.ts";

/**
 * An index of shards (`model.safetensors.index.json`, `pytorch_model.bin.index.json`): tensor name -> file beside it.
 * @throws UserError when it is not one
 */
export function readIndex(path: string): Map<string, string> {
  let weightMap: unknown;
  try {
    weightMap = JSON.parse(readFileSync(path, "utf8"))?.weight_map;
  } catch (error) {
    throw new UserError(`${path}: cannot be read as JSON: ${(error as Error).message}`);
  }
  const entries = typeof weightMap === "object" && weightMap !== null ? Object.entries(weightMap) : [];
  if (entries.length === 0 || !entries.every(([, shard]) => typeof shard === "string" && isRelative(shard))) {
    throw new UserError(`${path}: its weight_map does not map tensor names to files beside it`);
  }
  return new Map(entries);
}

/**
 * Opens every shard of an index.
 * @param path the folder of the shards, for messages
 * @throws UserError as `open` does, or when a shard lacks a tensor that it should hold; no file stays open then
 */
export function openShards(
  path: string,
  weightMap: ReadonlyMap<string, string>,
  open: (shard: string) => WeightsReader,
): WeightsReader {
  const shards = new Map<string, WeightsReader>();
  try {
    for (const shard of new Set(weightMap.values())) shards.set(shard, open(shard));
    return mergeReaders(path, weightMap, shards);
  } catch (error) {
    for (const reader of shards.values()) reader.close();
    throw error;
  }
}

/**
 * @param path the folder of the shards, for messages
 * @param weightMap tensor name -> key in `shards`
 * @throws UserError when a shard lacks a tensor that it should hold
 */
function mergeReaders(
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
