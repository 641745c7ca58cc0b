/** Weights as `model.safetensors`, or in shards with an index when they are large, as transformers reads them. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { bytesOf, elementsOf } from "../checkpoint/dtypes.ts";
import { type TensorSource, writeSafetensors } from "../checkpoint/safetensors.ts";
import { writeFileAtomic } from "../xp/folder.ts";

/** transformers' own limit. */
export const SHARD_BYTES = 5e9;

export type OnProgress = (bytesDone: number, bytesTotal: number) => void;

/** Writes the tensors to `folder`; files of another number of shards that were there are removed at the end. */
export async function writeShards(
  folder: string,
  tensors: readonly TensorSource[],
  { onProgress, shardBytes = SHARD_BYTES }: { onProgress?: OnProgress; shardBytes?: number } = {},
): Promise<void> {
  const shards = split(tensors, shardBytes);
  const total = bytesOfAll(tensors);
  const metadata = { format: "pt" };
  const single = join(folder, "model.safetensors");
  const index = `${single}.index.json`;
  if (shards.length === 1) {
    await writeSafetensors(single, tensors, metadata, { onProgress });
    rmSync(index, { force: true });
    return;
  }
  const count = String(shards.length).padStart(5, "0");
  const nameOf = (i: number) => `model-${String(i + 1).padStart(5, "0")}-of-${count}.safetensors`;
  let done = 0;
  for (const [i, shard] of shards.entries()) {
    const before = done;
    await writeSafetensors(join(folder, nameOf(i)), shard, metadata, {
      onProgress: (bytes) => onProgress?.(before + bytes, total),
    });
    done += bytesOfAll(shard);
  }
  const weightMap = Object.fromEntries(
    shards.flatMap((shard, i) => shard.map(({ name }) => [name, nameOf(i)])),
  );
  const content = { metadata: { total_size: total }, weight_map: weightMap };
  writeFileAtomic(index, `${JSON.stringify(content, null, 2)}\n`);
  rmSync(single, { force: true });
}

/** In order, each shard as full as it may be; a larger tensor has one of its own. */
function split(tensors: readonly TensorSource[], limit: number): TensorSource[][] {
  const shards: TensorSource[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    const size = bytesOfAll([tensor]);
    if (bytes > 0 && bytes + size > limit) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)!.push(tensor);
    bytes += size;
  }
  return shards;
}

function bytesOfAll(tensors: readonly TensorSource[]): number {
  return tensors.reduce((sum, { shape, dtype }) => sum + elementsOf(shape) * bytesOf(dtype), 0);
}
