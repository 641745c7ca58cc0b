/** Batches: items of a data set put together into one array. */
import { giveBack } from "./audio/scratch.ts";
import type { AudioDataset, AudioItem, SegmentInfo } from "./audio_dataset.ts";

export interface Batch<Info extends SegmentInfo = SegmentInfo> {
  /** [B, C, T], contiguous. */
  wav: Float32Array<ArrayBuffer>;
  shape: [number, number, number];
  infos: Info[];
  /** What a codec makes of it, [B, K, T] as int16, where a cache knows. */
  codes?: { values: Int16Array<ArrayBuffer>; shape: [number, number, number] };
}

/** What reading a batch took. */
export interface ReadReport {
  seconds: number;
  /** Seconds of it: opening and decoding files; channels and rate. */
  decodeSeconds: number;
  resampleSeconds: number;
  /** Reads that failed and were replaced by another draw. */
  brokenReads: number;
}

/** `readBatch`, with what it took. */
export async function readTimed<Info extends SegmentInfo>(
  dataset: AudioDataset<Info>,
  indices: ArrayLike<number>,
  epoch: number,
): Promise<{ batch: Batch<Info>; report: ReadReport }> {
  const began = performance.now();
  const before = { ...dataset.times, brokenReads: dataset.brokenReads };
  const batch = await readBatch(dataset, indices, epoch);
  const report = {
    seconds: (performance.now() - began) / 1000,
    decodeSeconds: dataset.times.decode - before.decode,
    resampleSeconds: dataset.times.resample - before.resample,
    brokenReads: dataset.brokenReads - before.brokenReads,
  };
  return { batch, report };
}

/** Reads the items of a batch one after the other. */
export async function readBatch<Info extends SegmentInfo>(
  dataset: AudioDataset<Info>,
  indices: ArrayLike<number>,
  epoch: number,
): Promise<Batch<Info>> {
  const items: AudioItem<Info>[] = [];
  for (let i = 0; i < indices.length; i++) items.push(await dataset.item(indices[i], epoch));
  const batch = dataset.collate(items, indices, epoch);
  for (const { wav } of items) if (wav.buffer !== batch.wav.buffer) giveBack(wav);
  return batch;
}

/** Stacks items; shorter ones (whole files) are zero-padded to the longest, and `totalFrames` says so. */
export function collate<Info extends SegmentInfo>(items: AudioItem<Info>[]): Batch<Info> {
  const channels = items[0].info.channels;
  const frames = Math.max(...items.map((item) => item.info.totalFrames));
  const wav = new Float32Array(items.length * channels * frames);
  const infos = items.map((item, b) => {
    const length = item.info.totalFrames;
    for (let c = 0; c < channels; c++)
      wav.set(item.wav.subarray(c * length, (c + 1) * length), (b * channels + c) * frames);
    return { ...item.info, totalFrames: frames };
  });
  return { wav, shape: [items.length, channels, frames], infos };
}

/** The batch with its last item repeated until there are `rows`; the same one when there are. */
export function filledBatch<Info extends SegmentInfo>(batch: Batch<Info>, rows: number): Batch<Info> {
  const { wav, shape, infos, codes } = batch;
  if (shape[0] >= rows) return batch;
  const full: Batch<Info> = {
    wav: filled(wav, shape[0], rows),
    shape: [rows, shape[1], shape[2]],
    infos: filledRows(infos, rows),
  };
  if (codes)
    full.codes = {
      values: filled(codes.values, codes.shape[0], rows),
      shape: [rows, codes.shape[1], codes.shape[2]],
    };
  return full;
}

/** `rows` of them, the last one repeated. */
export function filledRows<T>(items: readonly T[], rows: number): T[] {
  return Array.from({ length: Math.max(rows, items.length) }, (_, i) => items[Math.min(i, items.length - 1)]);
}

function filled<A extends Float32Array<ArrayBuffer> | Int16Array<ArrayBuffer>>(
  values: A,
  present: number,
  rows: number,
): A {
  const size = values.length / present;
  const full = new (values.constructor as new (length: number) => A)(rows * size);
  full.set(values);
  for (let row = present; row < rows; row++)
    full.copyWithin(row * size, (present - 1) * size, present * size);
  return full;
}

/** The samples [C, T] of one item of a batch, as a view. */
export function itemWav(batch: Batch, index: number): Float32Array {
  const size = batch.shape[1] * batch.shape[2];
  return batch.wav.subarray(index * size, (index + 1) * size);
}
