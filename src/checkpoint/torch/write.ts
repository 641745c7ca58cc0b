/** Writing files that torch.load reads, with one tensor in memory at a time. */
import { createHash } from "node:crypto";
import { basename } from "node:path";
import { writeFileAtomically } from "../atomic_file.ts";
import { bytesOf, elementsOf, encode } from "../dtypes.ts";
import type { TensorSource } from "../safetensors.ts";
import { pickle } from "./pickle_write.ts";
import { TorchTensor } from "./tensor.ts";
import { ZipWriter } from "./zip_write.ts";

/** A tensor to write; in a tree its name is that of its key. One that occurs twice is stored once, as a tied weight is. */
export type TorchSource = Omit<TensorSource, "name">;

/** Numbers without a fraction become int, the others float; objects and Maps become dict, arrays list. */
export type TorchWritable =
  | null
  | boolean
  | number
  | bigint
  | string
  | TorchSource
  | TorchTensor
  | readonly TorchWritable[]
  | { readonly [key: string]: TorchWritable }
  | ReadonlyMap<string | number, TorchWritable>;

/**
 * Writes what `torch.save(value, path)` would, for torch.load with or without `weights_only`. `path` is replaced in one
 * instant when all is on the disk.
 * @throws UserError with cause and remedy when the disk refuses; the previous file is untouched then
 * @throws RangeError for a value that Python has no plain counterpart for, and for a tensor whose data is not as announced
 */
export async function writeTorchArchive(
  path: string,
  value: TorchWritable,
  {
    onProgress,
    zip64From,
  }: { onProgress?: (bytesDone: number, bytesTotal: number) => void; zip64From?: number } = {},
): Promise<void> {
  const keys = new Map<object, string>();
  const viewOf = viewIdentities();
  const sources: TorchSource[] = [];
  const data = pickle(value, (node) => {
    const source = asSource(node);
    if (source === null) return null;
    const identity = node instanceof TorchTensor ? viewOf(node) : node;
    if (!keys.has(identity)) keys.set(identity, String(sources.push(source) - 1));
    return { tensor: source, key: keys.get(identity)! };
  });

  const sizes = sources.map(({ dtype, shape }) => elementsOf(shape) * bytesOf(dtype));
  const before = {
    "data.pkl": data,
    ".format_version": "1",
    ".storage_alignment": "64",
    byteorder: "little",
  };
  const after = { version: "3\n", ".data/serialization_id": serializationId(data) };
  // the folder inside of the archive has the name of the file
  const folder = basename(path).replace(/\.[^.]*$/, "") || "archive";
  const small = (entries: Record<string, Buffer | string>) =>
    Object.entries(entries).map(([name, content]) => ({ name, content: Buffer.from(content) }));
  const zip = new ZipWriter(
    [
      ...small(before).map(({ name, content }) => ({ name, bytes: content.length })),
      ...sizes.map((bytes, i) => ({ name: `data/${i}`, bytes })),
      ...small(after).map(({ name, content }) => ({ name, bytes: content.length })),
    ].map(({ name, bytes }) => ({ name: `${folder}/${name}`, bytes })),
    zip64From,
  );
  const total = sizes.reduce((sum, bytes) => sum + bytes, 0);
  await writeFileAtomically(path, zip.size, async (file) => {
    zip.begin(file);
    for (const { content } of small(before)) zip.append(content);
    let done = 0;
    for (const [i, { dtype, data }] of sources.entries()) {
      zip.append(encode(dtype, await data()));
      done += sizes[i];
      onProgress?.(done, total);
    }
    for (const { content } of small(after)) zip.append(content);
    zip.end();
  });
}

function asSource(node: object): TorchSource | null {
  if (node instanceof TorchTensor) return { dtype: node.dtype, shape: node.shape, data: () => node.read() };
  const { dtype, shape, data } = node as Partial<TorchSource>;
  return dtype !== undefined && shape !== undefined && typeof data === "function"
    ? (node as TorchSource)
    : null;
}

/** Gives the tensors of an archive that are the same view of the same storage one identity. */
function viewIdentities(): (tensor: TorchTensor) => object {
  const views = new Map<object, Map<string, object>>();
  return (tensor) => {
    const ofStorage = views.get(tensor.storage) ?? new Map<string, object>();
    views.set(tensor.storage, ofStorage);
    const view = JSON.stringify([tensor.dtype, tensor.offset, tensor.shape, tensor.strides]);
    const identity = ofStorage.get(view) ?? tensor;
    ofStorage.set(view, identity);
    return identity;
  };
}

/** 40 digits that name the content, as PyTorch's do; here they do not depend on anything else. */
function serializationId(pickle: Buffer): string {
  const hash = createHash("sha256").update(pickle).digest("hex");
  return BigInt(`0x${hash}`).toString().padStart(40, "0").slice(-40);
}
