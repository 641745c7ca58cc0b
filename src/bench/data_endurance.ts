/** Whether a loader's memory grows over many segments. */

import { benchFiles } from "./data_files.ts";
import { openLoader } from "./measure/data.ts";
import { SEGMENT } from "./sizes.ts";
import { growth, spread } from "./statistics.ts";

export const FORMATS = ["wav", "flac", "mp3", "ogg"] as const;

export interface EnduranceOptions {
  format: (typeof FORMATS)[number];
  workers: number;
  /** Segments to read. */
  endurance: number;
  json: boolean;
}

/** Memory growth above both of these is a leak: MB, and share of what was in use. */
const TOLERATED_GROWTH = { megabytes: 16, share: 0.05 };

/** Reads segments and watches the memory; returns the exit code: 1 when it grows. */
export async function endure({ format, workers, endurance, json }: EnduranceOptions): Promise<number> {
  const loader = openLoader({ manifest: await benchFiles(format), workers, segments: endurance }, endurance);
  const every = Math.max(1, Math.floor(endurance / SEGMENT.batch / 60));
  const megabytes: number[] = [];
  let count = 0;
  for await (const _ of loader.batches(0)) {
    if (++count % every !== 0) continue;
    megabytes.push(process.memoryUsage.rss() / 1e6);
    if (!json && megabytes.length % 6 === 0)
      console.log(`${count * SEGMENT.batch} segments of ${format}: ${megabytes.at(-1)!.toFixed(0)} MB`);
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
