/** A loader's time for batches of segments out of audio files, and where it goes. */
import { DataLoader } from "../../data/loader.ts";
import { type Measurement, peakBytes } from "../measurement.ts";
import type { DataRequest, Request } from "../request.ts";
import { SEGMENT } from "../sizes.ts";

/** Batches before the first run: what the workers have read ahead by then does not count. */
const WARM_UP_BATCHES = 8;

/** A run is `segments` segments. */
export async function measureData({ data, runs }: Request): Promise<Measurement> {
  const perRun = Math.ceil(data.segments / SEGMENT.batch);
  const loader = openLoader(data, (WARM_UP_BATCHES + perRun * runs) * SEGMENT.batch);
  const seconds: number[] = [];
  let start = snapshot(loader);
  let runBegan = 0;
  let count = -WARM_UP_BATCHES;
  for await (const _ of loader.batches(0)) {
    count++;
    if (count > 0 && count % perRun === 0) {
      seconds.push(start.seconds() - runBegan);
      runBegan = start.seconds();
    }
    if (count === 0) start = snapshot(loader);
  }
  const { cpu, read, decode, resample, transfer } = start.since();
  await loader.close();
  const worked = read + transfer;
  return {
    series: { read: seconds },
    peakBytes: peakBytes(),
    facts: {
      segments: perRun * SEGMENT.batch,
      cpuMillisecondsPerSegment: (1000 * cpu) / (perRun * runs * SEGMENT.batch),
      decodeShare: decode / worked,
      resampleShare: resample / worked,
      transferShare: transfer / worked,
    },
    versions: { node: process.versions.node },
  };
}

export function openLoader({ manifest, workers }: DataRequest, numSamples: number): DataLoader {
  const options = {
    segmentDuration: SEGMENT.seconds,
    sampleRate: SEGMENT.sampleRate,
    channels: 1,
    numSamples,
  };
  return new DataLoader(
    { type: "audio", manifest, cwd: process.cwd(), options },
    { batchSize: SEGMENT.batch, numWorkers: workers, shuffle: true, seed: 0 },
  );
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
