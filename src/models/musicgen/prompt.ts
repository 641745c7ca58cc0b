/** Audio to continue, as codes. */
import { convertAudio } from "../../data/audio/convert.ts";
import { UserError } from "../../errors.ts";
import { scoped, type Tensor, tf } from "../../runtime/index.ts";
import type { CompressionModel } from "../compression.ts";
import type { AudioBatch } from "./params.ts";
import type { Codes } from "./windows.ts";

/** A clip per row, of any rate and channels. @throws UserError when there are not `batch` clips, or of several lengths */
export function encodePrompt(
  { audio, sampleRate }: AudioBatch,
  batch: number,
  codec: CompressionModel,
): Codes {
  if (audio.length !== batch) throw new UserError(`${audio.length} prompts for ${batch} descriptions`);
  const clips = audio.map((samples) => convertAudio({ samples, sampleRate }, codec).samples);
  const length = clips[0][0].length;
  const other = clips.find((clip) => clip[0].length !== length);
  if (other)
    throw new UserError(
      `the prompts of a batch must be equally long; these have ${length} and ${other[0].length} samples`,
    );
  const wav = new Float32Array(batch * codec.channels * length);
  for (const [i, channel] of clips.flat().entries()) wav.set(channel, i * length);
  return scoped(() => {
    const { codes } = codec.encode(tf.tensor3d(wav, [batch, codec.channels, length]) as Tensor);
    return { codes: Int32Array.from(codes.dataSync()), frames: codes.shape[2]! };
  });
}
