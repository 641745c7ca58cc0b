/** The data benchmark: a loader's segments per second, where the time goes, and whether memory grows. */
import { cpus } from "node:os";
import { DataLoader } from "../data/loader.ts";
import { UserError } from "../errors.ts";
import { benchFiles } from "./data_files.ts";
import { othersNow, TOLERATED_CORES, watchOthers } from "./processor.ts";
import { growth, type Spread, spread } from "./statistics.ts";

export const FORMATS = ["wav", "flac", "mp3", "ogg"] as const;

export interface DataBenchOptions {
  formats: (typeof FORMATS)[number][];
  workers: number;
  runs: number;
  segments: number;
  /** Segments to read while memory is watched; 0: measure speed instead. */
  endurance: number;
  force: boolean;
  json: boolean;
}

const BATCH = 8;
const WARM_UP_BATCHES = 8;
/** Memory growth above both of these is a leak: MB, and share of what was in use. */
const TOLERATED_GROWTH = { megabytes: 16, share: 0.05 };

interface FormatResult {
  format: string;
  segmentsPerSecond: Spread;
  /** Processor time of all threads. */
  cpuMillisecondsPerSegment: number;
  /** Of the time that reading and handing over took. */
  shares: { decode: number; resample: number; transfer: number; rest: number };
  /** Cores that other processes used meanwhile. */
  others: number;
}

/** Prints the figures; returns the exit code. Throws UserError when others use the machine. */
export async function runDataBench(options: DataBenchOptions): Promise<number> {
  const manifests: [string, string][] = [];
  for (const format of options.formats) manifests.push([format, await benchFiles(format)]);
  const before = await othersNow();
  if (before > TOLERATED_CORES && !options.force)
    throw new UserError(
      `other processes use ${before.toFixed(1)} cores: figures measured now would be worthless. Stop them, or pass --force to see unusable ones`,
    );
  if (options.endurance > 0) return await endure(manifests[0], options);
  const results: FormatResult[] = [];
  for (const [format, manifest] of manifests) {
    const result = await measure(format, manifest, options);
    results.push(result);
    if (!options.json) console.log(describe(result));
  }
  const usable = before <= TOLERATED_CORES && results.every(({ others }) => others <= TOLERATED_CORES);
  if (options.json)
    console.log(JSON.stringify({ usable, processor: processor(), ...options, results }, null, 2));
  else {
    console.log(
      `\n${options.workers} workers, ${options.runs} runs of ${options.segments} segments, ${processor()}`,
    );
    if (!usable) console.log("UNUSABLE: other processes used the processor meanwhile (see above).");
  }
  return usable ? 0 : 1;
}

async function measure(format: string, manifest: string, options: DataBenchOptions): Promise<FormatResult> {
  const perRun = Math.ceil(options.segments / BATCH);
  const loader = open(manifest, (WARM_UP_BATCHES + perRun * options.runs) * BATCH, options.workers);
  const speeds: number[] = [];
  let start = snapshot(loader);
  let others = watchOthers();
  let runBegan = 0;
  let count = -WARM_UP_BATCHES;
  for await (const _ of loader.batches(0)) {
    count++;
    if (count > 0 && count % perRun === 0) {
      speeds.push((perRun * BATCH) / (start.seconds() - runBegan));
      runBegan = start.seconds();
    }
    if (count !== 0) continue;
    start = snapshot(loader);
    others = watchOthers();
  }
  const { cpu, read, decode, resample, transfer } = start.since();
  const result: FormatResult = {
    format,
    segmentsPerSecond: spread(speeds),
    cpuMillisecondsPerSegment: (1000 * cpu) / (perRun * options.runs * BATCH),
    shares: {
      decode: decode / (read + transfer),
      resample: resample / (read + transfer),
      transfer: transfer / (read + transfer),
      rest: (read - decode - resample) / (read + transfer),
    },
    others: others(),
  };
  await loader.close();
  return result;
}

/** The counters of a loader and of this process, and how far they have moved since. */
function snapshot(loader: DataLoader) {
  const began = performance.now();
  const usage = process.cpuUsage();
  const times = { ...loader.times };
  const { readSeconds } = loader.stats;
  return {
    seconds: () => (performance.now() - began) / 1000,
    since: () => {
      const { user, system } = process.cpuUsage(usage);
      return {
        cpu: (user + system) / 1e6,
        read: loader.stats.readSeconds - readSeconds,
        decode: loader.times.decode - times.decode,
        resample: loader.times.resample - times.resample,
        transfer: loader.times.transfer - times.transfer,
      };
    },
  };
}

function open(manifest: string, numSamples: number, numWorkers: number): DataLoader {
  const options = { segmentDuration: 10, sampleRate: 32000, channels: 1, numSamples };
  return new DataLoader(
    { type: "audio", manifest, cwd: process.cwd(), options },
    { batchSize: BATCH, numWorkers, shuffle: true, seed: 0 },
  );
}

async function endure([format, manifest]: [string, string], options: DataBenchOptions): Promise<number> {
  const { endurance, workers, json } = options;
  const loader = open(manifest, endurance, workers);
  const every = Math.max(1, Math.floor(endurance / BATCH / 60));
  const megabytes: number[] = [];
  let count = 0;
  for await (const _ of loader.batches(0)) {
    if (++count % every !== 0) continue;
    megabytes.push(process.memoryUsage.rss() / 1e6);
    if (!json && megabytes.length % 6 === 0)
      console.log(`${count * BATCH} segments of ${format}: ${megabytes.at(-1)!.toFixed(0)} MB`);
  }
  await loader.close();
  const grown = growth(megabytes);
  const limit = Math.max(TOLERATED_GROWTH.megabytes, TOLERATED_GROWTH.share * spread(megabytes).median);
  const leaks = grown > limit;
  if (json) console.log(JSON.stringify({ format, segments: endurance, megabytes, grown, leaks }, null, 2));
  else
    console.log(
      `memory ${leaks ? "GROWS" : "does not grow"}: ${grown.toFixed(1)} MB from the middle to the last third of ${endurance} segments (allowed: ${limit.toFixed(0)})`,
    );
  return leaks ? 1 : 0;
}

function describe({
  format,
  segmentsPerSecond,
  cpuMillisecondsPerSegment,
  shares,
  others,
}: FormatResult): string {
  const { median, lowest, highest } = segmentsPerSecond;
  const parts = Object.entries(shares).map(([stage, share]) => `${stage} ${Math.round(100 * share)} %`);
  const disturbed = others > TOLERATED_CORES ? `  UNUSABLE: others used ${others.toFixed(1)} cores` : "";
  return (
    `${format.padEnd(5)} ${median.toFixed(0).padStart(4)} segments/s (${lowest.toFixed(0)} to ${highest.toFixed(0)}), ` +
    `${cpuMillisecondsPerSegment.toFixed(1)} ms of CPU each: ${parts.join(", ")}${disturbed}`
  );
}

function processor(): string {
  const all = cpus();
  return `${all.length} x ${all[0]?.model.trim() ?? "unknown processor"}, Node ${process.versions.node}`;
}
