/** Files of torch.save, read as data: no code of theirs is run, and none is looked for. */
import { UserError } from "../../errors.ts";
import { ByteFile, mistakenForWeights } from "../byte_file.ts";
import { torchWorld } from "./globals.ts";
import { isLegacy, readLegacy } from "./legacy.ts";
import { MAX_PICKLE_BYTES, unpickle } from "./pickle.ts";
import { plainTree, type TorchValue } from "./plain.ts";
import type { Storage } from "./tensor.ts";
import { crcAgrees, damaged, readZipDirectory, readZipEntry, type ZipEntry } from "./zip.ts";

export interface TorchArchive {
  readonly path: string;
  /** What was given to torch.save, with tensors as leaves whose data is still in the file. */
  readonly value: TorchValue;
  /** Compares the checksums of all storages. @returns whether there are any @throws UserError naming a damaged one */
  verify(onProgress?: (bytesDone: number, bytesTotal: number) => void): boolean;
  /** After this no tensor can be read. */
  close(): void;
}

/**
 * Opens a file of torch.save: the zip format, or that of PyTorch before 1.6. The data of tensors is read on request only.
 * @throws UserError naming the file and the reason when it is damaged, lies about sizes, or asks for code
 */
export function openTorchArchive(path: string): TorchArchive {
  const file = new ByteFile(path);
  try {
    const start = file.read(0, Math.min(file.size, 512));
    if (start.toString("latin1", 0, 4) === "PK\x03\x04") return readZip(file);
    if (isLegacy(start)) {
      const value = inFile(file, () => readLegacy(file));
      return { path, value, verify: () => false, close: () => file.close() };
    }
    throw new UserError(`${path}: not a PyTorch file: ${recognise(start)}`);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Whether a file begins as those of torch.save do. */
export function isTorchArchive(start: Buffer): boolean {
  return start.toString("latin1", 0, 4) === "PK\x03\x04" || isLegacy(start);
}

const CONVERT =
  "load it in PyTorch and write it again: torch.save(torch.load(path, map_location='cpu'), new_path)";

function recognise(start: Buffer): string {
  const mistaken = mistakenForWeights(start);
  if (mistaken !== null) return mistaken;
  if (start.length === 0) return "it is empty";
  if (start.toString("latin1", 257, 262) === "ustar")
    return `it is in the tar format of PyTorch before 0.2; ${CONVERT}`;
  if (start[0] === 0x80) return `it is a pickle, but not one of torch.save; ${CONVERT}`;
  return "it begins with something else";
}

function readZip(file: ByteFile): TorchArchive {
  const entries = readZipDirectory(file);
  const pickles = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (pickles.length !== 1) {
    throw new UserError(
      `${file.path}: not a PyTorch file: the zip archive has ${pickles.length} entries */data.pkl, 1 expected`,
    );
  }
  const prefix = pickles[0].slice(0, -"data.pkl".length);
  if (entries.has(`${prefix}constants.pkl`)) {
    throw new UserError(
      `${file.path}: it is a TorchScript program, not weights; save the state_dict of the model instead`,
    );
  }
  const order = entries.get(`${prefix}byteorder`);
  if (order && readZipEntry(file, order, 16).toString() !== "little") {
    throw new UserError(`${file.path}: it was written on a big-endian machine; ${CONVERT} on a usual one`);
  }
  const pickle = readZipEntry(file, entries.get(pickles[0])!, MAX_PICKLE_BYTES);
  const storages = new Map<string, ZipStorage>();
  const world = torchWorld((key, bytes) => {
    const entry = entries.get(`${prefix}data/${key}`);
    if (!entry) throw new UserError(`the data of storage ${JSON.stringify(key)} is missing`);
    if (entry.method !== 0)
      throw new UserError(
        `storage ${JSON.stringify(key)} is compressed; unpack the zip archive and pack it with zip -0`,
      );
    if (bytes > entry.bytes) {
      throw new UserError(
        `storage ${JSON.stringify(key)} should have ${bytes} bytes, the file has ${entry.bytes}`,
      );
    }
    const storage = storages.get(key) ?? zipStorage(file, entry);
    storages.set(key, storage);
    return storage;
  });
  const value = inFile(file, () => plainTree(unpickle(pickle, 0, world).value));
  return {
    path: file.path,
    value,
    verify: (onProgress) => verifyStorages(storages, onProgress),
    close: () => file.close(),
  };
}

interface ZipStorage extends Storage {
  readonly hasChecksum: boolean;
}

function zipStorage(file: ByteFile, entry: ZipEntry): ZipStorage {
  return {
    bytes: entry.bytes,
    hasChecksum: entry.crc !== 0,
    read(begin, length) {
      const bytes = file.bytes(entry.dataStart + begin, length);
      // a part cannot be compared with the checksum of the whole
      if (length === entry.bytes && !crcAgrees(entry, bytes)) throw damaged(file, entry);
      return bytes;
    },
  };
}

function verifyStorages(
  storages: ReadonlyMap<string, ZipStorage>,
  onProgress?: (bytesDone: number, bytesTotal: number) => void,
): boolean {
  const all = [...storages.values()];
  const total = all.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  for (const storage of all) {
    storage.read(0, storage.bytes);
    done += storage.bytes;
    onProgress?.(done, total);
  }
  return all.some(({ hasChecksum }) => hasChecksum);
}

/** Puts the name of the file before what its content is refused for. */
function inFile<T>(file: ByteFile, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof UserError && !error.message.startsWith(`${file.path}:`)) {
      throw new UserError(`${file.path}: refused: ${error.message}`);
    }
    throw error;
  }
}
