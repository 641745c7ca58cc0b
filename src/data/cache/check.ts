/** Reads a whole cache once and compares every checksum. */
import { UserError } from "../../errors.ts";
import { shardsOf } from "./file_codes.ts";
import { readHeader } from "./header.ts";
import { ShardReader } from "./shard.ts";

export interface CheckResult {
  records: number;
  bytes: number;
  /** A message for each damaged record, and each index that cannot be read. */
  damaged: string[];
}

/** @throws UserError when there is no cache in the folder */
export function checkCache(folder: string): CheckResult {
  readHeader(folder);
  const result: CheckResult = { records: 0, bytes: 0, damaged: [] };
  const attempt = (f: () => void) => {
    try {
      f();
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      result.damaged.push(error.message);
    }
  };
  for (const path of shardsOf(folder)) {
    attempt(() => {
      const shard = new ShardReader(path);
      for (const entry of shard.entries) {
        attempt(() => shard.read(entry));
        result.records++;
        result.bytes += entry.size;
      }
      shard.close();
    });
  }
  return result;
}
