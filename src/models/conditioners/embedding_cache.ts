/** Embeddings of whole tracks on disk, one file per track, so that each is computed once and not in every epoch. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { openSafetensors, writeSafetensors } from "../../checkpoint/safetensors.ts";
import type { WavBatch } from "../../data/conditioning.ts";
import { UserError } from "../../errors.ts";

/** float32 [length, dim], row by row */
export interface Embedding {
  values: Float32Array;
  length: number;
  dim: number;
}

/** Whether every row of a batch is a part of a known track, so that its embedding can come from a cache. */
export function isFromTracks<B extends WavBatch>(
  batch: B,
): batch is B & { paths: string[]; seekTimes: number[] } {
  return batch.paths.every((path, row) => path !== null && batch.seekTimes[row] !== null);
}

/** `<folder>/<sha1 of the track's path>.safetensors`, as AudioCraft names them (its own files have no suffix and are not read). */
export class EmbeddingCache {
  private readonly folder: string;
  private readonly settings: string;
  private readonly compute: (path: string) => Promise<Embedding>;
  /** Those of the tracks of the newest batch. */
  private current = new Map<string, Embedding>();

  /** @param settings what the embeddings depend on besides the track: files made with others are refused */
  constructor(folder: string, settings: object, compute: (path: string) => Promise<Embedding>) {
    this.folder = folder;
    this.settings = JSON.stringify(settings);
    this.compute = compute;
  }

  fileOf(path: string): string {
    return join(this.folder, `${createHash("sha1").update(path).digest("hex")}.safetensors`);
  }

  /** Reads the embeddings of a batch's tracks, or computes and writes those that are not there. */
  async populate(paths: readonly string[]): Promise<void> {
    const before = this.current;
    this.current = new Map();
    for (const path of paths) {
      this.current.set(path, this.current.get(path) ?? before.get(path) ?? (await this.fetch(path)));
    }
  }

  /** The embedding of a track of the batch that was populated last. */
  get(path: string): Embedding {
    const found = this.current.get(path);
    if (found) return found;
    throw new Error(`the embedding cache was not populated with ${path}`);
  }

  private async fetch(path: string): Promise<Embedding> {
    const file = this.fileOf(path);
    if (existsSync(file)) return this.read(file);
    this.makeFolder();
    const { values, length, dim } = await this.compute(path);
    const tensor = { name: "embedding", dtype: "F32" as const, shape: [length, dim], data: () => values };
    await writeSafetensors(file, [tensor], { path, settings: this.settings });
    return { values, length, dim };
  }

  private makeFolder(): void {
    try {
      mkdirSync(this.folder, { recursive: true });
    } catch (error) {
      throw new UserError(`cache_path: cannot make the folder ${this.folder}: ${(error as Error).message}`);
    }
  }

  private read(file: string): Embedding {
    const reader = openSafetensors(file);
    try {
      const { settings } = reader.metadata;
      if (settings !== this.settings) {
        throw new UserError(
          `${file}: made with other settings (${settings}) than this run's (${this.settings}); use another cache_path`,
        );
      }
      const [length, dim] = reader.shape("embedding");
      return { values: reader.readFloat32("embedding"), length, dim };
    } finally {
      reader.close();
    }
  }
}
