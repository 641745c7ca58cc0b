/** MP3 (MPEG audio layers I to III): an index of all frames, and sample-exact segments decoded by mpg123 in wasm. */
import type { MPEGDecoder } from "mpg123-decoder";
import { type AudioFile, type AudioInfo, AudioReadError, describeAudio } from "./audio.ts";
import type { FileBytes } from "./file_bytes.ts";
import { requireSaneLevel } from "./level.ts";
import { indexMp3, type Mp3Index } from "./mp3_index.ts";
import { quietly } from "./quiet.ts";

/** Frames decoded before a segment, so that overlap-add and the filter bank have settled. */
const SETTLING_FRAMES = 3;
/** A frame's data may begin this many bytes before it (the bit reservoir: main_data_begin has 9 bits). */
const RESERVOIR_BYTES = 512;
/** Frames fed after a segment: the decoder looks ahead before it gives a frame out. */
const LOOKAHEAD_FRAMES = 2;

export class Mp3File implements AudioFile {
  readonly info: AudioInfo;
  private file: FileBytes;
  private index: Mp3Index;

  constructor(file: FileBytes) {
    this.file = file;
    this.index = cachedIndex(file);
    const { sampleRate, channels, skip, samples } = this.index;
    this.info = describeAudio(file.path, sampleRate, channels, samples - skip);
  }

  /** Position 0 is the first sample after the encoder's delay, where the file says what that is. */
  async read(start: number, frames: number): Promise<Float32Array[]> {
    const { index } = this;
    const from = start + index.skip;
    const to = from + frames;
    const frameOf = (sample: number) => Math.floor(sample / index.frameSamples);
    const first = this.firstFrameToDecode(frameOf(from));
    const last = Math.min(frameOf(to - 1) + LOOKAHEAD_FRAMES, index.offsets.length - 1);
    const bytes = this.file.read(
      index.offsets[first],
      index.offsets[last] + index.sizes[last] - index.offsets[first],
    );
    const packets: Uint8Array[] = [];
    for (let i = first; i <= last; i++) {
      const at = index.offsets[i] - index.offsets[first];
      packets.push(bytes.subarray(at, at + index.sizes[i]));
    }
    const decoded = await decode(this.file.path, packets);
    const begin = from - first * index.frameSamples;
    if (decoded.samplesDecoded < begin + frames)
      throw new AudioReadError(this.file.path, "some of its frames cannot be decoded");
    const channels = decoded.channelData.slice(0, index.channels);
    return requireSaneLevel(
      this.file.path,
      channels.map((channel) => channel.subarray(begin, begin + frames)),
    );
  }

  private firstFrameToDecode(frame: number): number {
    const { offsets } = this.index;
    let first = Math.max(0, frame - SETTLING_FRAMES);
    // The reservoir carries main data only: subtract what headers and side information take (at most 38 bytes a frame).
    const wanted = (at: number) => RESERVOIR_BYTES + 38 * (frame - at);
    while (
      first > 0 &&
      offsets[frame] - offsets[first] < wanted(first) + SETTLING_FRAMES * this.index.sizes[first]
    )
      first--;
    // The synthesis window turns once in eight frames or less: starting on a turn keeps even the rounding the same.
    return first - (first % 8);
  }

  close(): void {
    this.file.close();
  }
}

const indexes = new Map<string, Mp3Index>();
const MAX_INDEXES = 256;

function cachedIndex(file: FileBytes): Mp3Index {
  const key = `${file.path}\n${file.size}\n${file.modified}`;
  let index = indexes.get(key);
  if (!index) {
    index = indexMp3(file);
    if (indexes.size >= MAX_INDEXES) indexes.delete(indexes.keys().next().value as string);
    indexes.set(key, index);
  }
  return index;
}

let decoder: MPEGDecoder | undefined;
/** One decode at a time: the decoder is one state machine. */
let queue: Promise<unknown> = Promise.resolve();

function decode(path: string, packets: Uint8Array[]) {
  const result = queue.then(async () => {
    if (!decoder) {
      const { MPEGDecoder } = await import("mpg123-decoder");
      decoder = new MPEGDecoder({ enableGapless: false });
      await decoder.ready;
    } else {
      await decoder.reset();
    }
    const ready = decoder;
    const decoded = quietly(() => ready.decodeFrames(packets));
    if (decoded.errors.length > 0) throw new AudioReadError(path, `mpg123: ${decoded.errors[0].message}`);
    return decoded;
  });
  // What a failure leaves in the decoder's memory is not to be trusted.
  queue = result.catch(() => {
    decoder = undefined;
  });
  return result.catch((error: Error) => {
    // Damage may also make the WebAssembly code trap.
    throw error instanceof AudioReadError ? error : new AudioReadError(path, `mpg123: ${error.message}`);
  });
}
