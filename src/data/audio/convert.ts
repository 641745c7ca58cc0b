/** Clips to the rate and channels that something needs, in AudioCraft's way. */
import { UserError } from "../../errors.ts";
import type { AudioClip } from "./audio.ts";
import { convertChannels } from "./channels.ts";
import { resample } from "./resample.ts";

/** What a model takes; models themselves are such. */
export interface AudioForm {
  sampleRate: number;
  channels: number;
}

/**
 * The clip with other channels (see `convertChannels`), then another rate. Arrays may be shared with the input.
 * @throws UserError for a clip without samples, of uneven channels, or that has too few of them
 */
export function convertAudio({ samples, sampleRate }: AudioClip, form: AudioForm): AudioClip {
  if (!(samples.length > 0 && samples[0].length > 0))
    throw new UserError("a clip is empty: it has no samples");
  if (samples.some((channel) => channel.length !== samples[0].length))
    throw new UserError(
      `the channels of a clip differ in length: ${samples.map((channel) => channel.length).join(", ")} samples`,
    );
  if (!(sampleRate > 0 && Number.isInteger(sampleRate)))
    throw new UserError(`a sample rate of ${sampleRate}: a whole number of Hz is needed`);
  try {
    return {
      samples: resample(convertChannels(samples, form.channels), sampleRate, form.sampleRate),
      sampleRate: form.sampleRate,
    };
  } catch (error) {
    if (error instanceof RangeError) throw new UserError(`a clip cannot be converted: ${error.message}`);
    throw error;
  }
}
