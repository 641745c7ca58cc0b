/** What a manifest's row says about one audio file. A job for `runOnFiles`. */
import { peak } from "./audio/normalize.ts";
import { audioInfo } from "./audio/read.ts";
import { decodeBlocks } from "./audio_blocks.ts";

export interface FileFacts {
  duration: number;
  sampleRate: number;
  /** The largest absolute sample, if asked for. */
  amplitude: number | null;
}

/** `amplitude`: decode the file to find its peak. Throws AudioReadError. */
export async function perform(path: string, { amplitude }: { amplitude: boolean }): Promise<FileFacts> {
  let highest = 0;
  const info = amplitude
    ? await decodeBlocks(path, (block) => {
        highest = Math.max(highest, peak(block));
      })
    : await audioInfo(path);
  return { duration: info.duration, sampleRate: info.sampleRate, amplitude: amplitude ? highest : null };
}
