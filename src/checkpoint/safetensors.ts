/** Safetensors files: tensors read one by one from where they lie, written one by one as they come. */
import { writeFileAtomically } from "./atomic_file.ts";
import { ByteFile, mistakenForWeights } from "./byte_file.ts";
import { arrayOf, bytesOf, type Dtype, elementsOf, encode, type TypedArray } from "./dtypes.ts";
import { NamedTensors } from "./named_tensors.ts";
import {
  blankChecksum,
  CHECKSUM_KEY,
  cutShort,
  damaged,
  digest,
  formatHeader,
  type Header,
  invalid,
  MAX_HEADER_BYTES,
  parseHeader,
  type TensorEntry,
  tensorDigests,
  withChecksum,
} from "./safetensors_header.ts";

/** Named tensors in one file or several. */
export interface WeightsReader {
  /** The file, or the folder of files. */
  readonly path: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly names: readonly string[];
  has(name: string): boolean;
  /** @throws UserError when there is no such tensor (so do the others that take a name) */
  dtype(name: string): Dtype;
  shape(name: string): readonly number[];
  /** The tensor's values in its dtype's typed array, freshly read; F16 and BF16 as bit patterns. */
  read(name: string): TypedArray;
  /** The values of a floating-point tensor or counter (F32, F16, BF16, F64, I64) as float32. @throws UserError for another dtype */
  readFloat32(name: string): Float32Array;
  /** Compares the checksums of all tensors. @returns whether there were any @throws UserError naming a damaged tensor */
  verify(onProgress?: (bytesDone: number, bytesTotal: number) => void): boolean;
  close(): void;
}

/**
 * Opens a file and checks its whole header; tensor data is read on request only. When the file carries our checksums,
 * each tensor is compared with its own when it is read; with `verify` false they are ignored.
 * @throws UserError naming the file and the reason, when it is missing, cut short or malformed
 */
export function openSafetensors(path: string, { verify = true } = {}): WeightsReader {
  const file = new ByteFile(path);
  try {
    return new SafetensorsFile(file, verify);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** A tensor to write. `data` is called when its turn comes, so that only one tensor needs to be in memory. */
export interface TensorSource {
  name: string;
  dtype: Dtype;
  shape: readonly number[];
  /** The dtype's own array, its raw bytes, or Float32Array for F16, BF16 (round to nearest even) and F64. */
  data: () => TypedArray | Promise<TypedArray>;
  /** Called instead of `data` when the tensor will not be written after all. */
  release?: () => void;
}

/**
 * Writes tensors, metadata and checksums to `path`, which is replaced in one instant when all is on the disk.
 * @throws UserError with cause and remedy when the disk refuses; the previous file is untouched then
 */
export async function writeSafetensors(
  path: string,
  sources: readonly TensorSource[],
  metadata: Readonly<Record<string, string>> = {},
  { onProgress }: { onProgress?: (bytesDone: number, bytesTotal: number) => void } = {},
): Promise<void> {
  const ordered = inFileOrder(sources);
  const tensors = layOut(ordered);
  const checksums = { ...metadata, [CHECKSUM_KEY]: blankChecksum(tensors.length) };
  const header = formatHeader({ metadata: checksums, tensors });
  if (header.length > MAX_HEADER_BYTES) {
    throw new RangeError(`${path}: a header of ${header.length} bytes is too large; shorten the metadata`);
  }
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const dataBytes = tensors.at(-1)?.end ?? 0;
  await writeFileAtomically(path, 8 + header.length + dataBytes, async (file) => {
    const digests: string[] = [];
    file.append(length);
    file.append(header);
    for (const [i, { name, dtype, begin, end }] of tensors.entries()) {
      const bytes = encode(dtype, await ordered[i].data());
      if (bytes.length !== end - begin) {
        throw new RangeError(`tensor "${name}": ${end - begin} bytes expected, its data has ${bytes.length}`);
      }
      digests.push(digest(bytes));
      file.append(bytes);
      onProgress?.(end, dataBytes);
    }
    file.overwrite(8, withChecksum(header, digests));
  });
}

/** Widest elements first: so every tensor is aligned for programs that map the file into memory. */
export function inFileOrder(sources: readonly TensorSource[]): TensorSource[] {
  return [...sources].sort((a, b) => bytesOf(b.dtype) - bytesOf(a.dtype));
}

function layOut(sources: readonly TensorSource[]): TensorEntry[] {
  const names = new Set<string>();
  let end = 0;
  return sources.map(({ name, dtype, shape }) => {
    if (names.has(name) || name === "__metadata__") throw new RangeError(`tensor name "${name}" is taken`);
    names.add(name);
    const begin = end;
    end += elementsOf(shape) * bytesOf(dtype);
    return { name, dtype, shape: [...shape], begin, end };
  });
}

class SafetensorsFile extends NamedTensors<TensorEntry> implements WeightsReader {
  readonly metadata: Readonly<Record<string, string>>;
  private readonly file: ByteFile;
  private readonly dataStart: number;
  private readonly digests: Map<string, string> | null;

  constructor(file: ByteFile, verify: boolean) {
    const { path } = file;
    const { header, bytes } = readHeader(file);
    super(path, new Map(header.tensors.map((tensor) => [tensor.name, tensor])));
    const { [CHECKSUM_KEY]: _, ...metadata } = header.metadata;
    this.metadata = metadata;
    this.file = file;
    this.dataStart = 8 + bytes.length;
    this.digests = verify ? tensorDigests(path, bytes, header) : null;
  }

  read(name: string): TypedArray {
    const { dtype, begin, end } = this.tensor(name);
    const bytes = this.file.bytes(this.dataStart + begin, end - begin);
    const expected = this.digests?.get(name);
    if (expected !== undefined && digest(bytes) !== expected) throw damaged(this.path, `tensor "${name}"`);
    return arrayOf(dtype, bytes.buffer);
  }

  verify(onProgress?: (bytesDone: number, bytesTotal: number) => void): boolean {
    if (this.digests === null) return false;
    const total = Math.max(0, ...Array.from(this.tensors.values(), (tensor) => tensor.end));
    for (const { name, end } of this.tensors.values()) {
      this.read(name);
      onProgress?.(end, total);
    }
    return true;
  }

  close(): void {
    this.file.close();
  }
}

function readHeader(file: ByteFile): { header: Header; bytes: Buffer } {
  const { path, size } = file;
  if (size < 8) throw cutShort(path, 8, size);
  const start = file.read(0, Math.min(size, 64));
  const headerBytes = Number(start.readBigUInt64LE(0));
  if (headerBytes > MAX_HEADER_BYTES || headerBytes < 2) {
    throw invalid(path, recognise(start) ?? `it begins with ${headerBytes} as the length of its header`);
  }
  if (8 + headerBytes > size) throw cutShort(path, 8 + headerBytes, size);
  const bytes = file.read(8, headerBytes);
  return { header: parseHeader(path, bytes, size - 8 - headerBytes), bytes };
}

function recognise(start: Buffer): string | null {
  if (start.toString("latin1", 0, 4) === "PK\x03\x04") return "it is a PyTorch or zip archive";
  return mistakenForWeights(start);
}
