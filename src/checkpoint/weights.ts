/** Weights of any format: safetensors, files of torch.save, and indices of shards of either. */
import { closeSync, openSync, readSync } from "node:fs";
import { dirname, join } from "node:path";
import { UserError } from "../errors.ts";
import { NamedTensors } from "./named_tensors.ts";
import { openSafetensors, type WeightsReader } from "./safetensors.ts";
import { openShards, readIndex } from "./sharded.ts";
import { isTorchArchive, openTorchArchive, type TorchArchive } from "./torch/archive.ts";
import type { TorchValue } from "./torch/plain.ts";
import { TorchTensor } from "./torch/tensor.ts";

export { openTorchArchive, type TorchArchive } from "./torch/archive.ts";
export type { TorchValue } from "./torch/plain.ts";
export { TorchTensor } from "./torch/tensor.ts";

/**
 * Opens `*.safetensors`, `*.index.json` (the shards are beside it) or a file of torch.save that holds a state dict. What a
 * file is, is read from its first bytes, not from its name.
 * @param at the keys that lead to the state dict in a file of torch.save that holds more: ["best_state", "model"]
 * @throws UserError naming the file and the reason
 */
export function openWeights(path: string, at: readonly string[] = []): WeightsReader {
  if (path.endsWith(".index.json")) {
    return openShards(dirname(path), readIndex(path), (shard) => openWeights(join(dirname(path), shard), at));
  }
  if (!looksLikeTorch(path)) return openSafetensors(path);
  const archive = openTorchArchive(path);
  try {
    return stateDictReader(archive, at);
  } catch (error) {
    archive.close();
    throw error;
  }
}

/**
 * The tensors of a dict inside of an archive, as weights. Values that are no tensors are left out. Closing the reader closes
 * the archive.
 * @param at the keys that lead to the dict
 * @param prefix only names that begin with it, which is removed from them
 * @throws UserError when there is no such dict, or no tensor in it
 */
export function stateDictReader(
  archive: TorchArchive,
  at: readonly string[] = [],
  prefix = "",
): WeightsReader {
  const dict = dictAt(archive, at);
  const tensors = new Map<string, TorchTensor>();
  for (const [name, value] of Object.entries(dict)) {
    if (value instanceof TorchTensor && name.startsWith(prefix))
      tensors.set(name.slice(prefix.length), value);
  }
  if (tensors.size === 0 && !(prefix === "" && Object.keys(dict).length === 0)) {
    throw new UserError(`${archive.path}: no tensors ${where(at, prefix)}${hint(archive.value)}`);
  }
  return new TorchWeights(archive, tensors);
}

function looksLikeTorch(path: string): boolean {
  if (path.endsWith(".safetensors")) return false;
  if (/\.(bin|pt|pth|th|ckpt|pkl|tar)$/.test(path)) return true;
  let descriptor: number;
  try {
    descriptor = openSync(path, "r");
  } catch (error) {
    throw new UserError(`${path}: cannot open: ${(error as Error).message}`);
  }
  try {
    const start = Buffer.alloc(32);
    return isTorchArchive(start.subarray(0, readSync(descriptor, start)));
  } catch {
    return false;
  } finally {
    closeSync(descriptor);
  }
}

function dictAt(archive: TorchArchive, at: readonly string[]): { [key: string]: TorchValue } {
  let value = archive.value;
  for (const [i, key] of at.entries()) {
    if (!isTree(value) || !(key in value)) {
      throw new UserError(`${archive.path}: no key "${key}" ${where(at.slice(0, i))}${hint(archive.value)}`);
    }
    value = value[key];
  }
  if (!isTree(value)) throw new UserError(`${archive.path}: no dict ${where(at)}${hint(archive.value)}`);
  return value;
}

function where(at: readonly string[], prefix = ""): string {
  const place = at.length === 0 ? "at its top level" : `under "${at.join(".")}"`;
  return prefix === "" ? place : `with names "${prefix}…" ${place}`;
}

/** Where the state dicts are that a file has. */
function hint(value: TorchValue): string {
  const found: string[][] = [];
  function search(node: TorchValue, path: string[]): void {
    if (!isTree(node) || path.length > 3 || found.length === 5) return;
    if (Object.values(node).some((child) => child instanceof TorchTensor)) found.push(path);
    for (const key of Object.keys(node).slice(0, 100)) search(node[key], [...path, key]);
  }
  search(value, []);
  if (found.length > 0) return `; there are tensors ${found.map((path) => where(path)).join(", ")}`;
  return isTree(value) ? `; it has the keys ${Object.keys(value).slice(0, 20).join(", ")}` : "";
}

export function isTree(value: TorchValue): value is { [key: string]: TorchValue } {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === null;
}

class TorchWeights extends NamedTensors<TorchTensor> implements WeightsReader {
  readonly metadata = {};
  private readonly archive: TorchArchive;

  constructor(archive: TorchArchive, tensors: ReadonlyMap<string, TorchTensor>) {
    super(archive.path, tensors);
    this.archive = archive;
  }

  read(name: string) {
    return this.tensor(name).read();
  }

  verify(onProgress?: (bytesDone: number, bytesTotal: number) => void): boolean {
    return this.archive.verify(onProgress);
  }

  close(): void {
    this.archive.close();
  }
}
