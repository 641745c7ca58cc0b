/** Archives of torch.save made by hand, to say what PyTorch never says. */
import { ZipWriter } from "../../src/checkpoint/torch/zip_write.ts";

export type Content = Record<string, Buffer | string>;

/** A stored zip archive of these entries. */
export function zipOf(entries: Content, zip64From?: number): Buffer {
  const contents = Object.entries(entries).map(([name, content]) => ({ name, bytes: asBytes(content) }));
  const zip = new ZipWriter(
    contents.map(({ name, bytes }) => ({ name, bytes: bytes.length })),
    zip64From,
  );
  const parts: Buffer[] = [];
  zip.begin({ append: (bytes) => parts.push(Buffer.from(bytes)), overwrite: () => {} });
  for (const { bytes } of contents) zip.append(bytes);
  zip.end();
  return Buffer.concat(parts);
}

/** An archive of torch.save with this pickle (characters are bytes) and these storages. */
export function archiveOf(pickle: Buffer | string, storages: Content = {}): Buffer {
  const data = Object.entries(storages).map(([key, content]) => [`archive/data/${key}`, content]);
  return zipOf({ "archive/data.pkl": pickle, "archive/version": "3\n", ...Object.fromEntries(data) });
}

export function asBytes(content: Buffer | string): Buffer {
  return typeof content === "string" ? Buffer.from(content, "latin1") : content;
}

/** BINUNICODE */
export function text(value: string): string {
  return `X${u32(Buffer.byteLength(value))}${Buffer.from(value).toString("latin1")}`;
}

/** BININT */
export function int(value: number): string {
  return `J${u32(value)}`;
}

export function u32(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value | 0);
  return bytes.toString("latin1");
}

export function tuple(...items: string[]): string {
  return `(${items.join("")}t`;
}

/** A reference to storage "0". */
export function storage(elements: number, kind = "torch\nFloatStorage", key = "0"): string {
  return `${tuple(text("storage"), `c${kind}\n`, text(key), text("cpu"), int(elements))}Q`;
}

/** A float32 tensor: a view of the given storage. */
export function tensor(from: string, offset: number, shape: number[], strides: number[]): string {
  const args = [from, int(offset), tuple(...shape.map(int)), tuple(...strides.map(int)), "\x89", "N"];
  return `ctorch._utils\n_rebuild_tensor_v2\n${tuple(...args)}R`;
}

/** A pickle of protocol 2 of the dict {"w": value}. */
export function dictOf(value: string): string {
  return `\x80\x02}${text("w")}${value}s.`;
}
