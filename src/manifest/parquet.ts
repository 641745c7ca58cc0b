/** Rows of Parquet files, as the Hugging Face hub keeps data sets. */
import * as zlib from "node:zlib";
import { asyncBufferFromFile, type Compressors, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { UserError } from "../errors.ts";
import type { Row } from "./csv.ts";

/** Rows with audio inside are large. */
const ROWS_AT_ONCE = 256;

/** Snappy is built into the reader, the rest comes from Node. */
const compressors: Compressors = {
  GZIP: (input) => zlib.gunzipSync(input),
  BROTLI: (input) => zlib.brotliDecompressSync(input),
  ...("zstdDecompressSync" in zlib && {
    ZSTD: (input) =>
      (zlib as unknown as { zstdDecompressSync: typeof zlib.gunzipSync }).zstdDecompressSync(input),
  }),
};

/** The rows of a file, in pieces. Integers are numbers, columns of bytes stay bytes. Throws UserError. */
export async function* readParquet(path: string): AsyncGenerator<Row[], void, void> {
  try {
    const file = await asyncBufferFromFile(path);
    const metadata = await parquetMetadataAsync(file);
    const total = Number(metadata.num_rows);
    for (let rowStart = 0; rowStart < total; rowStart += ROWS_AT_ONCE) {
      const rowEnd = Math.min(total, rowStart + ROWS_AT_ONCE);
      const rows = await parquetReadObjects({ file, metadata, rowStart, rowEnd, compressors, utf8: false });
      yield rows.map((row) => plain(row) as Row);
    }
  } catch (error) {
    if (error instanceof UserError) throw error;
    const { message } = error as Error;
    const hint = /ZSTD/.test(message) ? " (Node 22.15 or newer reads it)" : "";
    throw new UserError(`${path} cannot be read as a Parquet file: ${message}${hint}`);
  }
}

function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object" || ArrayBuffer.isView(value) || value instanceof Date)
    return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}
