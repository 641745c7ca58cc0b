/** What an epoch's time for data was, and what would make it less. */
import { availableParallelism } from "node:os";
import type { LoaderStats } from "./loader.ts";
import type { ReadTimes } from "./segment_samples.ts";

/** Counters of a loader at some moment. */
export interface DataMoment {
  seconds: number;
  stats: LoaderStats;
  /** Of reads from audio files; a cache of tokens has none. */
  times?: ReadTimes;
}

/** The counters as they are now. */
export function dataMoment(source: { stats: LoaderStats; times?: ReadTimes }): DataMoment {
  return {
    seconds: performance.now() / 1000,
    stats: { ...source.stats },
    times: source.times && { ...source.times },
  };
}

/** Waiting below this is not worth a warning: share of the time, and seconds (workers take a moment to start). */
const TOLERATED = { share: 0.1, seconds: 5 };

export interface DataReport {
  /** Seconds, share of the epoch, broken reads: for the log of every epoch. */
  summary: string;
  /** What to do, when training starves. */
  advice?: string;
}

/**
 * `numWorkers` reading threads on so many `cores`, and the model's sample rate, decide what is advised: more workers if there
 * are cores for them, else less work for each read.
 */
export function reportOnData(
  from: DataMoment,
  to: DataMoment,
  { numWorkers, sampleRate }: { numWorkers: number; sampleRate: number },
  cores: number = availableParallelism(),
): DataReport {
  const seconds = to.seconds - from.seconds;
  const waited = to.stats.waitSeconds - from.stats.waitSeconds;
  const broken = to.stats.brokenReads - from.stats.brokenReads;
  const read = to.stats.readSeconds - from.stats.readSeconds;
  const reads = broken > 0 ? `; ${broken} reads failed and were replaced by other draws` : "";
  const summary = `data: waited ${waited.toFixed(1)} s of ${seconds.toFixed(1)} s (${percent(waited / seconds)})${reads}`;
  if (waited <= TOLERATED.seconds || waited <= TOLERATED.share * seconds) return { summary };
  // What reads must keep up with is the time that training itself takes.
  const wanted = Math.ceil(read / Math.max(seconds - waited, 1e-3));
  const start = `training waits for data ${percent(waited / seconds)} of the time`;
  const possible = Math.min(Math.max(wanted, numWorkers + 1), cores);
  const steps: string[] = [];
  if (possible > numWorkers) steps.push(`set dataset.num_workers=${possible} (now ${numWorkers})`);
  if (wanted > cores || possible === numWorkers) steps.push(...lessWork(from, to, read, sampleRate));
  return { summary, advice: `${start}: ${steps.join("; ")}` };
}

function lessWork(from: DataMoment, to: DataMoment, read: number, sampleRate: number): string[] {
  const steps: string[] = [];
  const share = (stage: keyof ReadTimes) => ((to.times?.[stage] ?? 0) - (from.times?.[stage] ?? 0)) / read;
  if (share("decode") > 0.5)
    steps.push(`${percent(share("decode"))} of reading is decoding: store the files as WAV`);
  if (share("resample") > 0.25)
    steps.push(`${percent(share("resample"))} of reading is resampling: store the files at ${sampleRate} Hz`);
  steps.push("compute the tokens beforehand (npm run cache), so that no audio is read");
  return steps;
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}
