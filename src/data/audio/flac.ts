/** FLAC (RFC 9639): frames found by bisection over the file, decoded by libFLAC in wasm. */
import type { FLACDecoder } from "@wasm-audio-decoders/flac";
import { type AudioFile, type AudioInfo, AudioReadError, describeAudio } from "./audio.ts";
import type { FileBytes } from "./file_bytes.ts";
import { crc16, type FlacFrame, type FlacStream, parseFrameHeader, readStreamInfo } from "./flac_frame.ts";

/** Bisection ends when the frame is known to be within so many bytes; then frames are walked. */
const NEAR_BYTES = 1 << 16;
const CHUNK = 1 << 16;

export class FlacFile implements AudioFile {
  readonly info: AudioInfo;
  private file: FileBytes;
  private stream: FlacStream;

  /** `offset`: where the "fLaC" mark is (tags may come before it). */
  constructor(file: FileBytes, offset: number) {
    this.file = file;
    this.stream = readStreamInfo(file, offset);
    const { sampleRate, channels } = this.stream;
    this.info = describeAudio(
      file.path,
      sampleRate,
      channels,
      this.stream.totalSamples || this.countSamples(),
    );
  }

  async read(start: number, frames: number): Promise<Float32Array[]> {
    const { packets, firstSample } = this.framesOf(start, start + frames);
    const decoded = await decode(this.file.path, packets);
    const begin = start - firstSample;
    if (decoded.samplesDecoded < begin + frames)
      throw new AudioReadError(this.file.path, "some of its frames cannot be decoded");
    return decoded.channelData.map((channel) =>
      rescale(channel.subarray(begin, begin + frames), decoded.bitDepth),
    );
  }

  close(): void {
    this.file.close();
  }

  /** The frames that hold samples [start, end), each checked by its CRC. */
  private framesOf(start: number, end: number): { packets: Uint8Array[]; firstSample: number } {
    let frame = this.frameNear(start);
    const estimate = ((end - start) / this.info.frames) * this.file.size * 1.25 + 2 * CHUNK;
    let base = frame.offset;
    let bytes = this.file.read(base, Math.ceil(estimate));
    const packets: Uint8Array[] = [];
    let firstSample = -1;
    for (;;) {
      const length = this.frameLength(bytes, frame.offset - base);
      if (length === undefined) {
        const seen = bytes.length - (frame.offset - base);
        if (base + bytes.length >= this.file.size || seen > this.longestFrame)
          throw this.broken(frame.sample);
        // The frame goes on beyond what was read: read again from its start, twice as far.
        const wanted = 2 * Math.max(seen, CHUNK);
        base = frame.offset;
        bytes = this.file.read(base, wanted);
        continue;
      }
      const at = frame.offset - base;
      if (frame.sample + frame.blockSize > start) {
        if (firstSample < 0) firstSample = frame.sample;
        packets.push(bytes.subarray(at, at + length));
      }
      const next = frame.sample + frame.blockSize;
      if (next >= end) return { packets, firstSample };
      const header = parseFrameHeader(bytes, at + length, this.stream);
      if (!header && at + length + 16 > bytes.length && base + bytes.length < this.file.size) {
        base += at + length;
        bytes = this.file.read(base, 2 * CHUNK);
        const again = parseFrameHeader(bytes, 0, this.stream);
        if (!again || again.sample !== next) throw this.broken(next);
        frame = { ...again, offset: base };
        continue;
      }
      if (!header || header.sample !== next) throw this.broken(next);
      frame = { ...header, offset: base + at + length };
    }
  }

  private broken(sample: number): AudioReadError {
    const seconds = (sample / this.stream.sampleRate).toFixed(2);
    return new AudioReadError(this.file.path, `it is damaged or truncated: no valid frame at ${seconds} s`);
  }

  /**
   * Length of the frame at `at`: the next header whose start ends a stretch with a valid CRC-16, or the end of the file.
   * Undefined if the bytes do not reach so far.
   */
  private frameLength(bytes: Uint8Array, at: number): number | undefined {
    const least = Math.max(this.stream.minFrameBytes, 10);
    let crc = 0;
    let summed = at;
    const ends = (i: number) => {
      crc = crc16(bytes, summed, i, crc);
      summed = i;
      return crc === 0;
    };
    for (let i = bytes.indexOf(0xff, at + least); i >= 0; i = bytes.indexOf(0xff, i + 1)) {
      if ((bytes[i + 1] & 0xfe) !== 0xf8) continue;
      if (parseFrameHeader(bytes, i, this.stream) && ends(i)) return i - at;
    }
    // A file may end with an ID3v1 tag of 128 bytes.
    const tagged = bytes.length - 128;
    if (tagged > summed && ends(tagged)) return tagged - at;
    return ends(bytes.length) ? bytes.length - at : undefined;
  }

  /** A frame at or before `sample`, at most NEAR_BYTES before it where the file allows. */
  private frameNear(sample: number): FlacFrame {
    let low = this.frameAfter(this.stream.firstFrame);
    if (!low || low.offset !== this.stream.firstFrame) throw this.broken(0);
    let high = this.file.size;
    while (high - low.offset > NEAR_BYTES) {
      const middle = Math.floor((low.offset + high) / 2);
      const found = this.frameAfter(middle);
      if (found && found.sample <= sample && found.offset < high) low = found;
      else high = middle;
    }
    return low;
  }

  /** The first frame that begins at or after a byte offset; a header counts only if the frame's CRC-16 agrees. */
  private frameAfter(from: number): FlacFrame | undefined {
    for (let offset = from; offset < this.file.size; offset += CHUNK) {
      const bytes = this.file.read(offset, CHUNK + 16);
      for (let i = bytes.indexOf(0xff); i >= 0 && i < CHUNK; i = bytes.indexOf(0xff, i + 1)) {
        if ((bytes[i + 1] & 0xfe) !== 0xf8) continue;
        const header = parseFrameHeader(bytes, i, this.stream);
        if (header && this.isFrame(offset + i)) return { ...header, offset: offset + i };
      }
    }
    return undefined;
  }

  private isFrame(offset: number): boolean {
    for (let length = CHUNK; ; length *= 2) {
      const bytes = this.file.read(offset, length);
      if (this.frameLength(bytes, 0) !== undefined) return true;
      if (bytes.length < length || length > this.longestFrame) return false;
    }
  }

  /** Bytes within which a frame ends, also where the header is wrong about that (a plain one of 8192 samples is shorter). */
  private get longestFrame(): number {
    return Math.min(this.stream.maxFrameBytes, 1 << 22) + this.stream.channels * CHUNK;
  }

  /** Sample count of a file whose header does not give it: the end of the last frame. */
  private countSamples(): number {
    let size = CHUNK;
    for (;;) {
      let last: FlacFrame | undefined;
      const from = Math.max(this.stream.firstFrame, this.file.size - size);
      for (let frame = this.frameAfter(from); frame; frame = this.frameAfter(frame.offset + 10)) last = frame;
      if (last) return last.sample + last.blockSize;
      if (from === this.stream.firstFrame) return 0;
      size *= 4;
    }
  }
}

/** Adding and subtracting this rounds a float64 to the nearest integer, far faster than Math.round. */
const ROUND = 1.5 * 2 ** 52;

/** In place: the decoder divides integers by 2^(bits - 1) - 1; elsewhere, and in AudioCraft, full scale is 2^(bits - 1). */
function rescale(samples: Float32Array, bits: number): Float32Array {
  const full = 2 ** (bits - 1) - 1;
  const step = 2 ** (1 - bits);
  for (let i = 0; i < samples.length; i++) samples[i] = (samples[i] * full + ROUND - ROUND) * step;
  return samples;
}

let decoder: FLACDecoder | undefined;
/** One decode at a time: the decoder is one state machine. */
let queue: Promise<unknown> = Promise.resolve();

function decode(path: string, packets: Uint8Array[]) {
  const result = queue.then(async () => {
    if (!decoder) {
      const { FLACDecoder } = await import("@wasm-audio-decoders/flac");
      decoder = new FLACDecoder();
      await decoder.ready;
    } else {
      await decoder.reset();
    }
    const decoded = await decoder.decodeFrames(packets);
    if (decoded.errors.length > 0) throw new AudioReadError(path, `libFLAC: ${decoded.errors[0].message}`);
    return decoded;
  });
  // What a failure leaves in the decoder's memory is not to be trusted.
  queue = result.catch(() => {
    decoder = undefined;
  });
  return result.catch((error: Error) => {
    // Damage may also make the WebAssembly code trap.
    throw error instanceof AudioReadError ? error : new AudioReadError(path, `libFLAC: ${error.message}`);
  });
}
