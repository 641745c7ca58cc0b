/** Batches of a data set, read ahead by worker threads. The same batches in the same order for any number of workers. */

import { TorchGenerator } from "../random/mt19937.ts";
import type { AudioDataset, SegmentInfo } from "./audio_dataset.ts";
import { type Batch, type ReadReport, readTimed } from "./batch.ts";
import { type DatasetSpec, openDataset } from "./dataset_spec.ts";
import { permutation } from "./random.ts";
import type { ReadTimes } from "./segment_samples.ts";
import { WorkerPool } from "./worker_pool.ts";

export interface LoaderOptions {
  batchSize: number;
  /** Worker threads; 0: batches are read when they are asked for, in this thread. */
  numWorkers: number;
  /** Other order of items in each epoch. */
  shuffle: boolean;
  seed: number;
  /** Use a fixed random subset of so many items; null or more than there are: all. */
  numSamples?: number | null;
  /** Batches that each worker reads ahead. */
  prefetch?: number;
  /** This process among the processes of a distributed run. */
  rank?: number;
  worldSize?: number;
  /**
   * What a process gets: "even", as many items as every other (some twice, as torch's DistributedSampler does; for training),
   * or "disjoint", every item once.
   */
  shards?: "even" | "disjoint";
  warn?: (message: string) => void;
}

export interface LoaderStats {
  /** Batches handed out. */
  batches: number;
  /** Seconds that the consumer waited for them. */
  waitSeconds: number;
  /** Batches read, those read ahead included. */
  batchesRead: number;
  /** Seconds that reading took, summed over workers. */
  readSeconds: number;
  /** Reads that failed and were replaced by another draw. */
  brokenReads: number;
}

export class DataLoader<Info extends SegmentInfo = SegmentInfo> {
  readonly dataset: AudioDataset<Info>;
  readonly options: Required<LoaderOptions>;
  readonly stats: LoaderStats = {
    batches: 0,
    batchesRead: 0,
    waitSeconds: 0,
    readSeconds: 0,
    brokenReads: 0,
  };
  /**
   * Seconds of `stats.readSeconds` by stage, and those from a worker's sending of batches to their receipt, in which this thread
   * may have been busy.
   */
  readonly times: ReadTimes & { transfer: number } = { decode: 0, resample: 0, transfer: 0 };
  private readonly spec: DatasetSpec;
  private readonly subset: Uint32Array;
  private readonly named = new Set<string>();
  private pool: WorkerPool<Info> | undefined;

  /** Opens the data set here too: manifest errors show at once. Throws UserError. */
  constructor(spec: DatasetSpec, options: LoaderOptions) {
    this.spec = spec;
    this.options = {
      ...options,
      numSamples: options.numSamples ?? null,
      prefetch: options.prefetch ?? 2,
      rank: options.rank ?? 0,
      worldSize: options.worldSize ?? 1,
      shards: options.shards ?? "disjoint",
      warn: options.warn ?? (() => {}),
    };
    this.dataset = openDataset(spec, (message, path) => this.warnOnce(message, path)) as AudioDataset<Info>;
    this.subset = this.chooseSubset();
  }

  /** Batches per epoch of this process. */
  get length(): number {
    return Math.ceil(this.items / this.options.batchSize);
  }

  get endsSmaller(): boolean {
    return this.length > 1 && this.items % this.options.batchSize !== 0;
  }

  /** Items per epoch of this process. */
  private get items(): number {
    const { rank, worldSize, shards } = this.options;
    const { length } = this.subset;
    return Math.ceil((shards === "even" ? length : length - rank) / worldSize);
  }

  /** Starts the worker threads, which are ready when the first batch is asked for. */
  start(): void {
    if (this.options.numWorkers > 0) this.openPool();
  }

  /**
   * The batches of an epoch from batch `start` on, one loop at a time. Leaving the loop early is fine: what was read ahead is
   * dropped.
   * Throws what reading threw: UserError when nothing can be read.
   */
  async *batches(epoch: number, start = 0): AsyncGenerator<Batch<Info>, void, void> {
    const order = this.order(epoch);
    const { batchSize, numWorkers, prefetch } = this.options;
    const indices = (i: number) => order.slice(i * batchSize, (i + 1) * batchSize);
    const count = Math.ceil(order.length / batchSize);
    const pool = numWorkers > 0 ? this.openPool() : undefined;
    const ahead: Promise<Batch<Info>>[] = [];
    let next = start;
    try {
      for (let i = start; i < count; i++) {
        if (pool)
          while (next < count && next < i + numWorkers * prefetch)
            ahead.push(pool.read(next, indices(next++), epoch));
        const began = performance.now();
        const batch = pool ? await pool.waitFor(ahead.shift()!) : await this.readHere(indices(i), epoch);
        this.stats.waitSeconds += (performance.now() - began) / 1000;
        this.stats.batches++;
        yield batch;
      }
    } finally {
      pool?.cancel();
    }
  }

  /** Ends the worker threads; the loader may be used again. */
  async close(): Promise<void> {
    await this.pool?.close();
    this.pool = undefined;
  }

  private openPool(): WorkerPool<Info> {
    this.pool ??= new WorkerPool<Info>(this.spec, this.options.numWorkers, {
      onRead: (report, transferSeconds) => this.count(report, transferSeconds),
      onWarning: (message, path) => this.warnOnce(message, path),
    });
    return this.pool;
  }

  private async readHere(indices: Uint32Array, epoch: number): Promise<Batch<Info>> {
    const { batch, report } = await readTimed(this.dataset, indices, epoch);
    this.count(report, 0);
    return batch;
  }

  private count(report: ReadReport, transferSeconds: number): void {
    this.stats.batchesRead++;
    this.stats.readSeconds += report.seconds;
    this.stats.brokenReads += report.brokenReads;
    this.times.decode += report.decodeSeconds;
    this.times.resample += report.resampleSeconds;
    this.times.transfer += transferSeconds;
  }

  private warnOnce(message: string, path: string): void {
    // Every worker finds a broken file for itself.
    const key = path || message;
    if (this.named.has(key)) return;
    this.named.add(key);
    this.options.warn(message);
  }

  private chooseSubset(): Uint32Array {
    const total = this.dataset.length;
    const { numSamples, seed } = this.options;
    if (numSamples === null || numSamples >= total) return Uint32Array.from({ length: total }, (_, i) => i);
    return permutation(new TorchGenerator(seed), total).slice(0, numSamples);
  }

  /** The items of this process in an epoch. */
  private order(epoch: number): Uint32Array {
    const { shuffle, seed, rank, worldSize, shards } = this.options;
    const count = this.subset.length;
    const places = shuffle
      ? permutation(new TorchGenerator(seed + epoch), count)
      : Uint32Array.from({ length: count }, (_, i) => i);
    const total = shards === "even" ? Math.ceil(count / worldSize) * worldSize : count;
    const mine = Math.ceil((total - rank) / worldSize);
    return Uint32Array.from({ length: mine }, (_, i) => this.subset[places[(rank + i * worldSize) % count]]);
  }
}
