/** Whole audio files, a block at a time: long ones do not fit into memory. */
import type { AudioFile, AudioInfo } from "./audio/audio.ts";
import { openAudio } from "./audio/read.ts";

const BLOCK_FRAMES = 1 << 21;

/**
 * Decodes the file from beginning to end; `take` gets planar samples, 2^21 frames at a time (the last block has the rest).
 * Throws AudioReadError.
 */
export async function decodeBlocks(
  path: string,
  take: (block: Float32Array[], info: AudioInfo) => void,
): Promise<AudioInfo> {
  const file: AudioFile = await openAudio(path);
  try {
    const { frames } = file.info;
    for (let start = 0; start < frames; start += BLOCK_FRAMES)
      take(await file.read(start, Math.min(BLOCK_FRAMES, frames - start)), file.info);
    return file.info;
  } finally {
    file.close();
  }
}
