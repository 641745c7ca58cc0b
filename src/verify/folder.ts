/** A folder of golden tensors: meta.json, safetensors and JSON files. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { readJson } from "../checkpoint/json.ts";
import { openSafetensors, type WeightsReader } from "../checkpoint/safetensors.ts";
import { UserError } from "../errors.ts";

export type Json = Record<string, unknown>;

export class GoldenFolder {
  readonly path: string;
  readonly name: string;
  /** Empty for the folders that consist of one JSON file. */
  readonly meta: Json;
  readonly files: readonly string[];
  private readonly readers = new Map<string, WeightsReader>();

  /** @throws UserError when there is no such folder, or its meta.json cannot be read */
  constructor(path: string) {
    this.path = resolve(path);
    this.name = basename(this.path);
    if (!existsSync(this.path)) throw new UserError(`${path}: there is no such folder`);
    if (!statSync(this.path).isDirectory()) throw new UserError(`${path}: not a folder`);
    this.files = readdirSync(this.path);
    const isSpiece = this.files.some((file) => /^t5-spiece.*\.json$/.test(file));
    if (!this.files.includes("meta.json") && !isSpiece) {
      throw new UserError(`${path}: no meta.json in it; give folders in the format of shared/golden`);
    }
    this.meta = this.files.includes("meta.json") ? this.json("meta.json") : {};
  }

  has(...files: string[]): boolean {
    return files.every((file) => existsSync(join(this.path, file)));
  }

  file(name: string): string {
    return join(this.path, name);
  }

  json<T = Json>(file: string): T {
    return readJson(this.file(file)) as T;
  }

  /** The tensors of `<file>.safetensors`; the file stays open until `close`. */
  tensors(file: string): WeightsReader {
    let reader = this.readers.get(file);
    if (reader === undefined) {
      reader = openSafetensors(this.file(`${file}.safetensors`));
      this.readers.set(file, reader);
    }
    return reader;
  }

  /** The names of a file's tensors in the order in which they were made, which the file itself does not keep. */
  namesInOrder(file: string): string[] {
    const listed = (this.meta.files as Json | undefined)?.[`${file}.safetensors`];
    const { names } = this.tensors(file);
    if (typeof listed !== "object" || listed === null) return [...names];
    const order = Object.keys(listed);
    const place = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
    return [...names].sort((a, b) => place(a) - place(b));
  }

  /** Values as numbers, whatever their type. */
  values(file: string, name: string): Float32Array | Int32Array {
    return numbers(this.tensors(file), name);
  }

  close(): void {
    for (const reader of this.readers.values()) reader.close();
    this.readers.clear();
  }
}

/** A tensor's values: float32, or int32 for integers and booleans. */
export function numbers(reader: WeightsReader, name: string): Float32Array | Int32Array {
  const dtype = reader.dtype(name);
  if (/^B?F\d/.test(dtype)) return reader.readFloat32(name);
  return Int32Array.from(reader.read(name) as ArrayLike<number>);
}
