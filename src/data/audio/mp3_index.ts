/** Finds every frame of an MP3 file by its headers, and what the Xing/LAME tag says of the encoder's delay. */
import { AudioReadError } from "./audio.ts";
import type { FileBytes } from "./file_bytes.ts";

export interface Mp3Index {
  sampleRate: number;
  channels: number;
  /** Samples per channel in each frame. */
  frameSamples: number;
  /** Byte offset and size of each audio frame (the tag frame is not one). */
  offsets: Float64Array;
  sizes: Uint16Array;
  /** Decoded samples before the music begins: encoder delay plus the decoder's own 529. */
  skip: number;
  /** Decoded samples up to the end of the music, `skip` included. */
  samples: number;
}

/** Delay of a layer III decoder in samples, counted by encoders that write their delay (LAME tag). */
const DECODER_DELAY = 529;
const CHUNK = 1 << 20;
const HEADER_BYTES = 4;

export function indexMp3(file: FileBytes): Mp3Index {
  const start = skipId3(file);
  const bytes = new Window(file);
  const offsets: number[] = [];
  const sizes: number[] = [];
  let first: FrameHeader | undefined;
  let tag: Tag | undefined;
  let offset = start;
  while (offset + HEADER_BYTES <= file.size) {
    const header = bytes.frameHeader(offset);
    // A sync word may occur in other data: a first frame counts only if another follows it.
    const fits = header && (first ? sameStream(header, first) : isFollowed(bytes, offset, header, file.size));
    if (!header || !fits) {
      offset++;
      continue;
    }
    if (offset + header.size > file.size) break;
    if (!first) {
      first = header;
      tag = readTag(file.read(offset, header.size), header);
    }
    if (!tag || offsets.length > 0 || !tag.pending) {
      offsets.push(offset);
      sizes.push(header.size);
    } else {
      tag.pending = false;
    }
    offset += header.size;
  }
  if (!first || offsets.length === 0)
    throw new AudioReadError(file.path, "no MPEG audio frames were found in it");
  if (tag && tag.frames > offsets.length + 1)
    throw new AudioReadError(
      file.path,
      `it is truncated: its header promises ${tag.frames} frames, ${offsets.length} are there`,
    );
  const decoded = offsets.length * first.samples;
  const skip = tag?.lame ? tag.delay + DECODER_DELAY : 0;
  const end = tag?.lame ? decoded - Math.max(0, tag.padding - DECODER_DELAY) : decoded;
  return {
    sampleRate: first.sampleRate,
    channels: first.channels,
    frameSamples: first.samples,
    offsets: Float64Array.from(offsets),
    sizes: Uint16Array.from(sizes),
    skip,
    samples: end,
  };
}

interface FrameHeader {
  version: number;
  layer: number;
  sampleRate: number;
  channels: number;
  samples: number;
  size: number;
}

// Bit rates in kbit/s by [MPEG 1, MPEG 2 and 2.5][layer 1, 2, 3] (ISO 11172-3 and 13818-3).
const BIT_RATES = [
  [
    [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  ],
  [
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
  ],
];
const SAMPLE_RATES = [44100, 48000, 32000];

/** Parses the four header bytes; undefined if they are none, or of a free-format frame (no size to go by). */
export function parseMpegHeader(b0: number, b1: number, b2: number, b3: number): FrameHeader | undefined {
  if (b0 !== 0xff || (b1 & 0xe0) !== 0xe0) return undefined;
  const versionBits = (b1 >> 3) & 3;
  const layer = 4 - ((b1 >> 1) & 3);
  const rateIndex = b2 >> 4;
  const sampleRateIndex = (b2 >> 2) & 3;
  if (versionBits === 1 || layer === 4 || rateIndex === 0 || rateIndex === 15 || sampleRateIndex === 3)
    return undefined;
  const version = versionBits === 3 ? 1 : versionBits === 2 ? 2 : 2.5;
  const sampleRate = SAMPLE_RATES[sampleRateIndex] / (version === 1 ? 1 : version === 2 ? 2 : 4);
  const bitRate = 1000 * BIT_RATES[version === 1 ? 0 : 1][layer - 1][rateIndex];
  const padding = (b2 >> 1) & 1;
  const samples = layer === 1 ? 384 : layer === 3 && version !== 1 ? 576 : 1152;
  const size =
    layer === 1
      ? 4 * (Math.floor((12 * bitRate) / sampleRate) + padding)
      : Math.floor(((samples / 8) * bitRate) / sampleRate) + padding;
  return { version, layer, sampleRate, channels: b3 >> 6 === 3 ? 1 : 2, samples, size };
}

function sameStream(a: FrameHeader, b: FrameHeader): boolean {
  return (
    a.version === b.version &&
    a.layer === b.layer &&
    a.sampleRate === b.sampleRate &&
    a.channels === b.channels
  );
}

function isFollowed(bytes: Window, offset: number, header: FrameHeader, fileSize: number): boolean {
  const next = offset + header.size;
  if (next + HEADER_BYTES > fileSize) return next === fileSize;
  const following = bytes.frameHeader(next);
  return following !== undefined && sameStream(header, following);
}

interface Tag {
  /** Audio frames the tag promises; 0 when it does not say. */
  frames: number;
  /** Whether delay and padding are given (tags of LAME and of FFmpeg's libraries). */
  lame: boolean;
  delay: number;
  padding: number;
  /** The tag's own frame has not been passed yet. */
  pending: boolean;
}

/** The Xing/Info/VBRI tag that takes the place of a stream's first frame. */
function readTag(frame: Uint8Array, header: FrameHeader): Tag | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const text = (at: number) => String.fromCharCode(...frame.subarray(at, at + 4));
  const sideInfo = header.version === 1 ? (header.channels === 1 ? 17 : 32) : header.channels === 1 ? 9 : 17;
  const at = HEADER_BYTES + sideInfo;
  if (frame.length >= 54 && text(36) === "VBRI")
    return { frames: view.getUint32(50), lame: false, delay: 0, padding: 0, pending: true };
  if (text(at) !== "Xing" && text(at) !== "Info") return undefined;
  const flags = view.getUint32(at + 4);
  let field = at + 8;
  let frames = 0;
  if (flags & 1) {
    frames = view.getUint32(field);
    field += 4;
  }
  if (flags & 2) field += 4;
  if (flags & 4) field += 100;
  if (flags & 8) field += 4;
  const lame = field + 24 <= frame.length && ["LAME", "Lavf", "Lavc"].includes(text(field));
  // Encoder delay and padding: 12 bits each, 21 bytes after the encoder's name begins.
  const delays = lame ? (frame[field + 21] << 16) | (frame[field + 22] << 8) | frame[field + 23] : 0;
  return { frames, lame, delay: delays >> 12, padding: delays & 0xfff, pending: true };
}

/** Offset of the first byte after ID3v2 tags. */
export function skipId3(file: FileBytes): number {
  let offset = 0;
  for (;;) {
    const b = file.read(offset, 10);
    if (b.length < 10 || b[0] !== 0x49 || b[1] !== 0x44 || b[2] !== 0x33) return offset;
    const footer = b[5] & 0x10 ? 10 : 0;
    offset +=
      10 + footer + ((b[6] & 0x7f) << 21) + ((b[7] & 0x7f) << 14) + ((b[8] & 0x7f) << 7) + (b[9] & 0x7f);
  }
}

/** Reads headers through a chunk of the file at a time. */
class Window {
  private file: FileBytes;
  private bytes: Uint8Array = new Uint8Array(0);
  private offset = 0;

  constructor(file: FileBytes) {
    this.file = file;
  }

  frameHeader(offset: number): FrameHeader | undefined {
    let at = offset - this.offset;
    if (at < 0 || at + HEADER_BYTES > this.bytes.length) {
      this.bytes = this.file.read(offset, CHUNK);
      this.offset = offset;
      at = 0;
    }
    const b = this.bytes;
    return b.length < HEADER_BYTES ? undefined : parseMpegHeader(b[at], b[at + 1], b[at + 2], b[at + 3]);
  }
}
