/**
 * The batches of a run's updates with their codes, for AudioCraft's `cache.write=true`: each epoch is a shard,
 * `<folder>/job-<write_shard>/epoch-<number>`, each item of a batch a record.
 */
import { mkdirSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { writeError } from "../../checkpoint/atomic_file.ts";
import { UserError } from "../../errors.ts";
import { TorchGenerator } from "../../random/mt19937.ts";
import { FolderLock } from "../../xp/lock.ts";
import type { Batch } from "../batch.ts";
import type { BatchSource } from "../batch_source.ts";
import type { LoaderStats } from "../loader.ts";
import { type MusicInfo, readParaphrases } from "../music_dataset.ts";
import { mixSeed } from "../random.ts";
import { sidecarPath } from "../sidecar.ts";
import { ShardReader, ShardWriter, shardExists } from "./shard.ts";
import { withCodes } from "./token_dataset.ts";
import { type Codes, decodeTokens, encodeTokens, type TokenEntry } from "./tokens.ts";

interface ItemEntry extends TokenEntry {
  batch: number;
  row: number;
}

function epochShard(folder: string, job: string, epoch: number): string {
  return join(folder, job, `epoch-${String(epoch).padStart(5, "0")}`);
}

export class UpdateWriter {
  private readonly folder: string;
  private readonly job: string;
  private readonly lock: FolderLock;
  private shard: ShardWriter<ItemEntry> | null = null;
  private epoch = 0;

  /** `job`: the number of this job among those that write the same cache. @throws UserError when another process is that job */
  constructor(folder: string, job: number) {
    this.folder = folder;
    this.job = `job-${job}`;
    const own = join(folder, this.job);
    try {
      mkdirSync(own, { recursive: true });
    } catch (error) {
      throw writeError(own, 0, error as NodeJS.ErrnoException);
    }
    this.lock = FolderLock.take(own, `cache.write_shard=${job} of ${folder}`);
  }

  /** Items of batch number `batch` of an epoch, in order; those that are there already stay. @throws UserError */
  write(epoch: number, batch: number, codes: Codes[], infos: MusicInfo[]): void {
    if (this.shard === null || epoch !== this.epoch) {
      this.shard?.close();
      this.shard = new ShardWriter(epochShard(this.folder, this.job, epoch));
      this.epoch = epoch;
    }
    this.shard.append(
      infos.map((info, row) => {
        const { bytes, entry } = encodeTokens(codes[row], info);
        return { key: `${batch}/${row}`, bytes, entry: { batch, row, ...entry } };
      }),
    );
  }

  close(): void {
    this.shard?.close();
    this.shard = null;
    this.lock.release();
  }
}

export interface CachedUpdatesOptions {
  batchSize: number;
  /** Batches that each epoch needs; null: as many as the first epoch has. */
  length: number | null;
  /** Frames of every item. */
  frames: number;
  phantomWav: boolean;
  paraphraseSource?: string | null;
  paraphraseP?: number;
  /** This process among those of a distributed run: each takes its part of every batch. */
  rank?: number;
}

/** Reads what an UpdateWriter wrote; batches may be smaller than they were then. */
export class CachedUpdates implements BatchSource<MusicInfo> {
  readonly options: CachedUpdatesOptions;
  readonly length: number;
  readonly stats: LoaderStats = {
    batches: 0,
    batchesRead: 0,
    waitSeconds: 0,
    readSeconds: 0,
    brokenReads: 0,
  };
  private readonly folder: string;
  private readonly paraphrases: Record<string, string[]>;

  /** @throws UserError when the first epoch is not there, or has too few batches */
  constructor(folder: string, options: CachedUpdatesOptions) {
    this.folder = folder;
    this.options = options;
    this.paraphrases = readParaphrases(options.paraphraseSource ?? null);
    const first = this.open(this.epochs()[0] ?? 1);
    first.shard.close();
    this.length = options.length ?? first.batches.length;
    this.check(first);
  }

  /** The epochs that are there. */
  epochs(): number[] {
    const names = jobsOf(this.folder).flatMap((job) => readdirSync(join(this.folder, job)));
    const numbers = names.flatMap((name) => {
      const found = /^epoch-(\d+)\.index$/.exec(name);
      return found ? [Number(found[1])] : [];
    });
    return [...new Set(numbers)].sort((a, b) => a - b);
  }

  async *batches(epoch: number, start = 0): AsyncGenerator<Batch<MusicInfo>, void, void> {
    const opened = this.open(epoch);
    try {
      this.check(opened);
      for (let i = start; i < this.length; i++) {
        const began = performance.now();
        const batch = this.read(opened, i);
        const seconds = (performance.now() - began) / 1000;
        this.stats.batches++;
        this.stats.batchesRead++;
        this.stats.readSeconds += seconds;
        this.stats.waitSeconds += seconds;
        yield batch;
      }
    } finally {
      opened.shard.close();
    }
  }

  async close(): Promise<void> {}

  private read({ epoch, shard, batches }: OpenEpoch, index: number): Batch<MusicInfo> {
    const { batchSize, rank = 0, phantomWav, frames } = this.options;
    const entries = batches[index].slice(rank * batchSize, (rank + 1) * batchSize);
    if (entries.length < batchSize) {
      throw new UserError(
        `${shard.path}: batch ${index} has ${batches[index].length} items, too few for ` +
          `${rank + 1} x dataset.batch_size=${batchSize}; use a smaller batch_size`,
      );
    }
    const items = entries.map((entry, row) => {
      const { codes, info } = decodeTokens<MusicInfo>(shard.read(entry), entry);
      if (codes.frames !== frames) {
        throw new UserError(
          `${shard.path}: items have ${codes.frames} frames, and dataset.segment_duration asks for ${frames}`,
        );
      }
      const { channels, totalFrames } = info;
      const wav = new Float32Array(phantomWav ? channels * totalFrames : 0).fill(Number.NaN);
      return { wav, codes, info: this.reworded(info, epoch, index, row) };
    });
    return withCodes(items, phantomWav);
  }

  /** With `dataset.paraphrase_source`, another wording of the description, drawn anew for every item. */
  private reworded(info: MusicInfo, epoch: number, batch: number, row: number): MusicInfo {
    const wordings = this.paraphrases[resolve(sidecarPath(info.meta.path))];
    const random = new TorchGenerator(mixSeed(PARAPHRASE_STREAM, epoch, batch, row));
    if (!wordings?.length || random.rand() >= (this.options.paraphraseP ?? 0)) return info;
    return { ...info, description: wordings[random.randint(wordings.length)] };
  }

  private check({ shard, epoch, batches }: OpenEpoch): void {
    const { length } = this;
    if (batches.length >= length) return;
    throw new UserError(
      `${shard.path}: epoch ${epoch} has ${batches.length} batches in the cache, and ${length} are needed ` +
        `(optim.updates_per_epoch); write it to its end first, or ask for fewer`,
    );
  }

  private open(epoch: number): OpenEpoch {
    const shards = jobsOf(this.folder)
      .map((job) => epochShard(this.folder, job, epoch))
      .filter(shardExists)
      .map((path) => new ShardReader<ItemEntry>(path));
    if (shards.length === 0) {
      const there = this.epochs();
      throw new UserError(
        `the cache ${this.folder} has no epoch ${epoch} (${there.length > 0 ? `there: ${there.join(", ")}` : "it is empty"})`,
      );
    }
    shards.sort((a, b) => b.entries.length - a.entries.length);
    for (const other of shards.slice(1)) other.close();
    const [shard] = shards;
    const batches: OpenEpoch["batches"] = [];
    for (const entry of shard.entries) {
      batches[entry.batch] ??= [];
      batches[entry.batch][entry.row] = entry;
    }
    let whole = 0;
    while (batches[whole]) whole++;
    return { epoch, shard, batches: batches.slice(0, whole) };
  }
}

interface OpenEpoch {
  epoch: number;
  shard: ShardReader<ItemEntry>;
  /** The entries of each batch. */
  batches: ShardReader<ItemEntry>["entries"][number][][];
}

/** Keeps the draws of wordings apart from others. */
const PARAPHRASE_STREAM = 0x70617261;

function jobsOf(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.startsWith("job-"))
    .sort();
}
