/** The header of a safetensors file: what is in it, checked so thoroughly that reading a tensor cannot go wrong. */
import { createHash } from "node:crypto";
import { UserError } from "../errors.ts";
import { bytesOf, type Dtype, elementsOf, isDtype } from "./dtypes.ts";

/** Larger headers are refused, as in the original library. */
export const MAX_HEADER_BYTES = 100_000_000;

/**
 * The metadata key of our checksums. Its value: "sha256:" and 16 hexadecimal digits (64 bits) of the header's hash and of
 * each tensor's, in the order of the file. In the hashed header all those digits are 0.
 */
export const CHECKSUM_KEY = "musicgen_tfjs.checksum";
const DIGITS = 16;
const PREFIX = "sha256:";

export interface TensorEntry {
  name: string;
  dtype: Dtype;
  shape: number[];
  /** Byte offsets from the beginning of the data. */
  begin: number;
  end: number;
}

export interface Header {
  metadata: Record<string, string>;
  /** In the order of the file. */
  tensors: TensorEntry[];
}

/** Start of a digest: enough against accidents, and short. */
export function digest(...parts: Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex").slice(0, DIGITS);
}

/** Header JSON for tensors that follow each other in the given order, padded so that the data begins aligned. */
export function formatHeader({ metadata, tensors }: Header): Buffer {
  const entries = tensors.map(({ name, dtype, shape, begin, end }) => [
    name,
    { dtype, shape, data_offsets: [begin, end] },
  ]);
  const json = Buffer.from(JSON.stringify(Object.fromEntries([["__metadata__", metadata], ...entries])));
  return Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, " ")]);
}

/** The value of the checksum while hashing the header: as long as the real one, all 0. */
export function blankChecksum(tensorCount: number): string {
  return PREFIX + "0".repeat(DIGITS * (1 + tensorCount));
}

/** The header with its checksum filled in: its own digest, then those of the tensors. */
export function withChecksum(blankHeader: Buffer, tensorDigests: string[]): Buffer {
  const blank = blankChecksum(tensorDigests.length);
  const value = PREFIX + digest(blankHeader) + tensorDigests.join("");
  const header = Buffer.from(blankHeader);
  header.write(value, checksumPosition(blankHeader, blank)!, "latin1");
  return header;
}

/** Where the checksum's value is in the header's bytes; no string inside the JSON can look like this key and value. */
function checksumPosition(header: Buffer, value: string): number | null {
  const key = `"${CHECKSUM_KEY}":"`;
  const position = header.indexOf(`${key}${value}"`);
  return position < 0 ? null : position + key.length;
}

/**
 * The digests of the tensors by name, or null for a file that was written without.
 * @throws UserError when the header differs from what was written
 */
export function tensorDigests(path: string, header: Buffer, parsed: Header): Map<string, string> | null {
  const value = parsed.metadata[CHECKSUM_KEY];
  if (value === undefined) return null;
  const blank = blankChecksum(parsed.tensors.length);
  const original = Buffer.from(header);
  const position = checksumPosition(header, value);
  if (value.length === blank.length && position !== null) original.write(blank, position, "latin1");
  if (value.slice(0, PREFIX.length + DIGITS) !== PREFIX + digest(original)) throw damaged(path, "header");
  const digestAt = (i: number) => value.slice(PREFIX.length + DIGITS * i, PREFIX.length + DIGITS * (i + 1));
  return new Map(parsed.tensors.map(({ name }, i) => [name, digestAt(i + 1)]));
}

export function damaged(path: string, part: string): UserError {
  return new UserError(
    `${path}: damaged: the checksum of its ${part} differs from what was written; use another copy or an earlier ` +
      `checkpoint (if another program rewrote this file on purpose, drop its metadata key ${CHECKSUM_KEY})`,
  );
}

/**
 * Parses the header JSON of a file whose data section has `dataBytes`.
 * @throws UserError naming the file and the reason for everything that is not as the format demands
 */
export function parseHeader(path: string, json: Buffer, dataBytes: number): Header {
  let text: string;
  let parsed: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(json);
    parsed = JSON.parse(text);
  } catch (error) {
    throw invalid(path, `its header is not JSON (${(error as Error).message})`);
  }
  if (!isObject(parsed)) throw invalid(path, "its header is not a JSON object");
  const twice = repeatedKey(text);
  if (twice !== null) throw invalid(path, `its header has the key ${twice} twice`);
  const metadata = parseMetadata(path, parsed.__metadata__ ?? {});
  const tensors = Object.entries(parsed)
    .filter(([name]) => name !== "__metadata__")
    .map(([name, entry]) => parseTensor(path, name, entry));
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkCoverage(path, tensors, 8 + json.length, dataBytes);
  return { metadata, tensors };
}

/** A key (as it is written) that an object of valid JSON has twice, or null: JSON.parse would keep the last one. */
function repeatedKey(json: string): string | null {
  const open: (Set<string> | null)[] = [];
  const structure = /["{}[\]]/g;
  for (let match = structure.exec(json); match; match = structure.exec(json)) {
    if (match[0] === "{") open.push(new Set());
    else if (match[0] === "[") open.push(null);
    else if (match[0] !== '"') open.pop();
    else {
      // past the string, so that what is in it is not taken for structure
      const start = match.index;
      let end = start + 1;
      while (json[end] !== '"') end += json[end] === "\\" ? 2 : 1;
      structure.lastIndex = end + 1;
      const keys = open.at(-1);
      if (!keys || !isColonNext(json, end + 1)) continue;
      const key = JSON.stringify(JSON.parse(json.slice(start, end + 1)));
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return null;
}

function isColonNext(json: string, at: number): boolean {
  const next = /\S/g;
  next.lastIndex = at;
  return next.exec(json)?.[0] === ":";
}

export function invalid(path: string, reason: string): UserError {
  return new UserError(`${path}: not a valid safetensors file: ${reason}`);
}

export function cutShort(path: string, expected: number, actual: number): UserError {
  return new UserError(
    `${path}: cut short: header says ${expected} bytes, file has ${actual}; copy or download it again`,
  );
}

function parseMetadata(path: string, metadata: unknown): Record<string, string> {
  if (!isObject(metadata)) throw invalid(path, "__metadata__ is not a JSON object");
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== "string") throw invalid(path, `__metadata__ key "${key}" is not a string`);
  }
  return metadata as Record<string, string>;
}

function parseTensor(path: string, name: string, entry: unknown): TensorEntry {
  const refuse = (reason: string) => invalid(path, `tensor "${name}": ${reason}`);
  if (!isObject(entry)) throw refuse("its entry is not a JSON object");
  const { dtype, shape, data_offsets: offsets } = entry;
  if (!isDtype(dtype)) throw refuse(`unknown dtype ${JSON.stringify(dtype)}`);
  if (!Array.isArray(shape) || !shape.every(isSize))
    throw refuse(`impossible shape ${JSON.stringify(shape)}`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize) || offsets[1] < offsets[0]) {
    throw refuse(`impossible data_offsets ${JSON.stringify(offsets)}`);
  }
  const [begin, end] = offsets;
  const bytes = elementsOf(shape) * bytesOf(dtype);
  if (bytes !== end - begin) {
    throw refuse(
      `${dtype} of shape ${JSON.stringify(shape)} takes ${bytes} bytes, its data_offsets say ${end - begin}`,
    );
  }
  return { name, dtype, shape, begin, end };
}

/** The tensors must follow each other without gap or overlap, from the first to the last byte of the data. */
function checkCoverage(path: string, tensors: TensorEntry[], dataStart: number, dataBytes: number): void {
  let end = 0;
  for (const tensor of tensors) {
    if (tensor.begin < end) throw invalid(path, `tensor "${tensor.name}" overlaps the one before it`);
    if (tensor.begin > end) {
      throw invalid(path, `${tensor.begin - end} bytes before tensor "${tensor.name}" belong to no tensor`);
    }
    end = tensor.end;
  }
  if (end > dataBytes) throw cutShort(path, dataStart + end, dataStart + dataBytes);
  if (end < dataBytes) throw invalid(path, `${dataBytes - end} bytes at its end belong to no tensor`);
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
