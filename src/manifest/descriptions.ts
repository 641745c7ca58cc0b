/** Writes sidecars (song.json beside song.wav) for audio that a table or shard describes. */
import { existsSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { extname } from "node:path";
import { writeError } from "../checkpoint/atomic_file.ts";
import type { AudioMeta } from "../data/manifest.ts";
import { sidecarPath } from "../data/sidecar.ts";
import type { FoundAudio } from "./sources.ts";

/** Writes the sidecar of a file, with all fields that AudioCraft asks for. False: there is one, and it is to stay. */
export function writeDescription(
  row: AudioMeta,
  description: NonNullable<FoundAudio["description"]>,
  overwrite: boolean,
): boolean {
  const path = sidecarPath(row.path);
  if (!overwrite && existsSync(path)) return false;
  const { key, artist, ...rest } = description;
  const content = {
    key,
    artist,
    sample_rate: row.sampleRate,
    file_extension: extname(row.path).slice(1),
    ...rest,
    duration: row.duration,
  };
  const temporary = `${path}.${process.pid}.tmp`;
  const text = `${JSON.stringify(content)}\n`;
  try {
    writeFileSync(temporary, text);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw writeError(path, text.length, error as NodeJS.ErrnoException);
  }
  return true;
}
