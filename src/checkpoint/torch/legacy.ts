/**
 * The format of torch.save before PyTorch 1.6: pickles of a magic number, a version, the machine, the object and the
 * storage keys, then each storage as its number of elements and its data.
 */
import { UserError } from "../../errors.ts";
import type { ByteFile } from "../byte_file.ts";
import { bytesOf, type Dtype } from "../dtypes.ts";
import { torchWorld } from "./globals.ts";
import { MAX_PICKLE_BYTES, unpickle } from "./pickle.ts";
import { isDict } from "./pickle_values.ts";
import { plainTree, type TorchValue } from "./plain.ts";
import type { Storage } from "./tensor.ts";

/** The pickle of 0x1950a86a20f9469cfc6c by protocol 2. */
const MAGIC = Buffer.from("80028a0a6cfc9c46f9206aa850192e", "hex");
const VERSION = 1001;

export function isLegacy(start: Buffer): boolean {
  return start.subarray(0, MAGIC.length).equals(MAGIC);
}

interface LegacyStorage extends Storage {
  readonly dtype: Dtype;
  /** Where its data begins, once known. */
  position: number | null;
}

/** @throws UserError with the reason */
export function readLegacy(file: ByteFile): TorchValue {
  const text = file.read(0, Math.min(file.size, MAX_PICKLE_BYTES));
  const storages = new Map<string, LegacyStorage>();
  const world = torchWorld((key, bytes, dtype) => {
    const known = storages.get(key);
    if (known && (known.bytes !== bytes || known.dtype !== dtype)) {
      throw new UserError(`storage ${JSON.stringify(key)} is said to be of two kinds`);
    }
    const storage = known ?? laterStorage(file, bytes, dtype);
    storages.set(key, storage);
    return storage;
  });
  const version = unpickle(text, MAGIC.length, world);
  if (version.value !== VERSION) throw new UserError(`its format has another version than ${VERSION}`);
  const machine = unpickle(text, version.end, world);
  if (!isDict(machine.value) || machine.value.little_endian !== true) {
    throw new UserError("it was not written on a little-endian machine");
  }
  const object = unpickle(text, machine.end, world);
  const keys = unpickle(text, object.end, world);
  placeStorages(file, storages, keys.value, keys.end);
  return plainTree(object.value);
}

function laterStorage(file: ByteFile, bytes: number, dtype: Dtype): LegacyStorage {
  if (bytes > file.size)
    throw new UserError(`a storage should have ${bytes} bytes, the file has ${file.size}`);
  return {
    bytes,
    dtype,
    position: null,
    read(begin, length) {
      return file.bytes(this.position! + begin, length);
    },
  };
}

function placeStorages(
  file: ByteFile,
  storages: Map<string, LegacyStorage>,
  keys: unknown,
  start: number,
): void {
  if (!Array.isArray(keys)) throw new UserError("its list of storages is none");
  let position = start;
  for (const key of keys) {
    const storage = storages.get(key);
    if (storage === undefined) throw new UserError("its list of storages names one that no tensor uses");
    if (storage.position !== null) throw new UserError(`it has storage ${JSON.stringify(key)} twice`);
    const bytes = Number(file.read(position, 8).readBigUInt64LE(0)) * bytesOf(storage.dtype);
    if (bytes !== storage.bytes) {
      throw new UserError(
        `storage ${JSON.stringify(key)} should have ${storage.bytes} bytes, the file has ${bytes}`,
      );
    }
    storage.position = position + 8;
    position += 8 + bytes;
    if (position > file.size) {
      throw new UserError(
        `it is cut short in storage ${JSON.stringify(key)} (${position} bytes expected, it has ${file.size})`,
      );
    }
  }
  if (position !== file.size)
    throw new UserError(`${file.size - position} bytes at its end belong to no storage`);
  for (const [key, { position }] of storages) {
    if (position === null) throw new UserError(`the data of storage ${JSON.stringify(key)} is missing`);
  }
}
