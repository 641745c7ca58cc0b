/** What an earlier manifest knows: rows of files that have not changed since it was written. */
import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { type AudioMeta, readRows } from "../data/manifest.ts";

export class EarlierManifest {
  private readonly rows = new Map<string, AudioMeta>();
  private readonly files = new Map<string, string>();
  /** When the oldest of the files was written (ms). */
  private readonly writtenAt: number;

  /** @param files manifests; those that do not exist hold nothing */
  constructor(files: readonly string[]) {
    const existing = files.filter((file) => existsSync(file));
    this.writtenAt = Math.min(...existing.map((file) => statSync(file).mtimeMs));
    for (const file of existing)
      for (const row of readRows(file)) {
        this.rows.set(resolve(row.path), row);
        this.files.set(resolve(row.path), file);
      }
  }

  get size(): number {
    return this.rows.size;
  }

  /** The row of a file, whether or not it still holds. */
  row(path: string): AudioMeta | undefined {
    return this.rows.get(resolve(path));
  }

  /** The manifest that a file's row is in. */
  file(path: string): string | undefined {
    return this.files.get(resolve(path));
  }

  /** The row of a file whose content and status are older than the manifest, and that says all that is asked for. */
  unchanged(path: string, needAmplitude: boolean): AudioMeta | undefined {
    const row = this.row(path);
    const stat = row && statSync(path, { throwIfNoEntry: false });
    if (!row || !stat?.isFile() || (needAmplitude && row.amplitude === null)) return undefined;
    // The time of status change cannot be set back: it also betrays a replacement with an old time of modification.
    return Math.max(stat.mtimeMs, stat.ctimeMs) < this.writtenAt ? row : undefined;
  }

  /** Paths of rows other than these, as long as they exist. */
  others(paths: ReadonlySet<string>): string[] {
    return [...this.rows.entries()]
      .filter(([path]) => !paths.has(path) && existsSync(path))
      .map(([, row]) => row.path);
  }
}
