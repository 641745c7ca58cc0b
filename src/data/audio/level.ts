/** Refuses what decodes to numbers that cannot be audio. */
import { AudioReadError } from "./audio.ts";

/** Samples beyond this (96 dB above full scale) are no audio, but damage or another encoding than the header says. */
const MAX_LEVEL = 2 ** 16;

/** `samples` themselves; an AudioReadError if one is NaN, infinite or absurdly large: it would spoil every weight of a model. */
export function requireSaneLevel(path: string, samples: Float32Array[]): Float32Array[] {
  for (const channel of samples) {
    let highest = 0;
    let check = 0;
    for (let i = 0; i < channel.length; i++) {
      const size = Math.abs(channel[i]);
      check += 0 * size;
      if (size > highest) highest = size;
    }
    if (check !== 0) throw new AudioReadError(path, "some of its samples are not numbers (NaN or infinite)");
    if (highest > MAX_LEVEL)
      throw new AudioReadError(path, `its samples reach ${highest.toPrecision(2)} where full scale is 1`);
  }
  return samples;
}
