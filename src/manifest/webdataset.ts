/** WebDataset shards: tar files in which files with the same name up to the first dot belong together. */
import { createReadStream } from "node:fs";
import { basename, join } from "node:path";
import { createGunzip } from "node:zlib";
import { extract } from "tar-stream";
import { isAudioName } from "../data/scan.ts";
import { parsePythonJson } from "../data/sidecar.ts";
import type { Row } from "./csv.ts";
import { extractTo, placeBelow } from "./extract.ts";

/** One sample of a shard, its audio extracted. */
export interface ShardSample {
  audio: string;
  /** `<shard>/<key>` */
  identity: string;
  row: Row;
}

const MAX_TEXT_BYTES = 1 << 20;

/** Name of a shard without its suffixes: its audio is extracted into a folder of that name. */
export function shardName(path: string): string {
  return basename(path).replace(/\.(tar|tar\.gz|tgz)$/i, "");
}

/**
 * Extracts the audio of a shard into `folder/<name of the shard>/`; files that are there already are kept. Yields a sample as
 * soon as its last file is read. Throws Error for a damaged archive, UserError for names that lead out of the folder.
 */
export async function* readShard(path: string, folder: string): AsyncGenerator<ShardSample, void, void> {
  const name = shardName(path);
  let sample: { key: string; audio?: string; row: Row } | undefined;
  const finished = () =>
    sample?.audio ? [{ audio: sample.audio, identity: `${name}/${sample.key}`, row: sample.row }] : [];
  for await (const entry of entries(path)) {
    const { name: file, size = 0, type } = entry.header;
    if (type !== "file") {
      entry.resume();
      continue;
    }
    const at = file.indexOf(".", file.lastIndexOf("/") + 1);
    const key = (at < 0 ? file : file.slice(0, at)).replace(/^(\.\/)+/, "");
    const suffix = at < 0 ? "" : file.slice(at + 1).toLowerCase();
    if (sample?.key !== key) {
      yield* finished();
      sample = { key, row: {} };
    }
    if (isAudioName(file) && !sample.audio) {
      sample.audio = placeBelow(join(folder, name), file, path);
      await extractTo(sample.audio, bytesOf(entry), size);
    } else if ((suffix === "json" || suffix === "txt") && size <= MAX_TEXT_BYTES) {
      const text = await textOf(bytesOf(entry));
      // The JSON file says more; it goes over the text, whichever comes first.
      sample.row =
        suffix === "txt" ? { text: text.trim(), ...sample.row } : { ...sample.row, ...asRow(text) };
    } else {
      entry.resume();
    }
  }
  yield* finished();
}

function entries(path: string): ReturnType<typeof extract> {
  const archive = extract();
  const bytes = createReadStream(path);
  bytes.on("error", (error) => archive.destroy(error));
  if (!/z$/i.test(path)) return bytes.pipe(archive);
  const unzipped = createGunzip();
  unzipped.on("error", (error) => archive.destroy(error));
  return bytes.pipe(unzipped).pipe(archive);
}

/** An entry's content. Its type is that of streams that yield anything. */
function bytesOf(entry: unknown): AsyncIterable<Uint8Array> {
  return entry as AsyncIterable<Uint8Array>;
}

async function textOf(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts).toString("utf8");
}

function asRow(text: string): Row {
  const content = parsePythonJson(text);
  return content !== null && typeof content === "object" && !Array.isArray(content) ? (content as Row) : {};
}
