/** The chunks of which RIFF (WAV) and FORM (AIFF) files are made. */
import { AudioReadError } from "./audio.ts";
import type { FileBytes } from "./file_bytes.ts";

export interface Chunk {
  id: string;
  /** Byte offset of the content. */
  body: number;
  /** What the header says, whether it is there or not. */
  size: number;
}

/** Files have a dozen; damaged ones may look like millions of empty chunks. */
const MAX_CHUNKS = 10_000;

/** The chunks from byte `offset` on, to the end of the file. Throws AudioReadError for what cannot be chunks. */
export function* chunks(file: FileBytes, offset: number, endian: "little" | "big"): Generator<Chunk> {
  for (let count = 0; ; count++) {
    const header = file.read(offset, 8);
    if (header.length < 8) return;
    const id = idOf(header);
    if (count === MAX_CHUNKS) throw new AudioReadError(file.path, "its chunks make no sense");
    const size = new DataView(header.buffer).getUint32(4, endian === "little");
    const body = offset + 8;
    yield { id, body, size };
    offset = body + size;
    // Chunks begin at even offsets, but some writers forget.
    if (size % 2 === 1 && !COMMON_IDS.has(idOf(file.read(offset, 4)))) offset++;
  }
}

const COMMON_IDS = new Set(["fmt ", "data", "fact", "LIST", "COMM", "SSND"]);

function idOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes.subarray(0, 4));
}
