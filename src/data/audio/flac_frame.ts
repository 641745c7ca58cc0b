/** The parts of the FLAC format (RFC 9639) that finding frames needs: stream information, frame headers, checksums. */
import { AudioReadError } from "./audio.ts";
import type { FileBytes } from "./file_bytes.ts";

export interface FlacStream {
  sampleRate: number;
  channels: number;
  /** 0: the header does not say. */
  totalSamples: number;
  /** Block size of a stream whose frames count blocks. */
  blockSize: number;
  minFrameBytes: number;
  maxFrameBytes: number;
  /** Byte offset of the first frame. */
  firstFrame: number;
}

export interface FlacFrame {
  offset: number;
  /** Position of the frame's first sample. */
  sample: number;
  blockSize: number;
}

/** Reads the metadata blocks that follow the "fLaC" mark at `offset`. */
export function readStreamInfo(file: FileBytes, offset: number): FlacStream {
  let at = offset + 4;
  let stream: FlacStream | undefined;
  for (;;) {
    const header = file.read(at, 4);
    if (header.length < 4) throw new AudioReadError(file.path, "its header is cut off");
    const type = header[0] & 0x7f;
    const length = (header[1] << 16) | (header[2] << 8) | header[3];
    if (type === 0 && length >= 18) {
      const b = file.read(at + 4, 18);
      if (b.length < 18) throw new AudioReadError(file.path, "its header is cut off");
      const u24 = (i: number) => (b[i] << 16) | (b[i + 1] << 8) | b[i + 2];
      const channels = ((b[12] >> 1) & 7) + 1;
      const maxBlock = (b[2] << 8) | b[3];
      stream = {
        sampleRate: (b[10] << 12) | (b[11] << 4) | (b[12] >> 4),
        channels,
        totalSamples: (b[13] & 15) * 2 ** 32 + b[14] * 2 ** 24 + ((b[15] << 16) | (b[16] << 8) | b[17]),
        blockSize: (b[0] << 8) | b[1],
        minFrameBytes: u24(4),
        // Unknown: a frame is never larger than its samples stored plainly.
        maxFrameBytes: u24(7) || maxBlock * channels * 4 + 18,
        firstFrame: 0,
      };
    }
    at += 4 + length;
    if (header[0] & 0x80) break;
  }
  if (!stream) throw new AudioReadError(file.path, "it has no stream information block");
  return { ...stream, firstFrame: at };
}

/** Parses a frame header and checks its CRC-8; undefined if there is none at `at`, or the bytes end too soon. */
export function parseFrameHeader(
  b: Uint8Array,
  at: number,
  stream: FlacStream,
): Omit<FlacFrame, "offset"> | undefined {
  if (at + 6 > b.length || b[at] !== 0xff || (b[at + 1] & 0xfe) !== 0xf8 || b[at + 3] & 1) return undefined;
  const countsSamples = (b[at + 1] & 1) === 1;
  const sizeCode = b[at + 2] >> 4;
  const rateCode = b[at + 2] & 15;
  const channelCode = b[at + 3] >> 4;
  if (sizeCode === 0 || rateCode === 15 || channelCode > 10) return undefined;
  if ((channelCode < 8 ? channelCode + 1 : 2) !== stream.channels) return undefined;
  // The number is coded like UTF-8, up to 36 bits.
  let i = at + 4;
  const lead = b[i++];
  const extra = lead < 0x80 ? 0 : Math.clz32(~(lead << 24)) - 1;
  if (extra < 0 || extra > 6 || (lead >= 0x80 && extra === 0)) return undefined;
  let number = extra === 0 ? lead : lead & (0x3f >> extra);
  for (let k = 0; k < extra; k++, i++) {
    if ((b[i] & 0xc0) !== 0x80) return undefined;
    number = number * 64 + (b[i] & 0x3f);
  }
  let blockSize: number;
  if (sizeCode === 1) blockSize = 192;
  else if (sizeCode <= 5) blockSize = 576 << (sizeCode - 2);
  else if (sizeCode === 6) blockSize = b[i++] + 1;
  else if (sizeCode === 7) {
    blockSize = ((b[i] << 8) | b[i + 1]) + 1;
    i += 2;
  } else blockSize = 256 << (sizeCode - 8);
  if (rateCode === 12) i += 1;
  else if (rateCode > 12) i += 2;
  if (i >= b.length || b[i] !== crc8(b, at, i)) return undefined;
  return { sample: countsSamples ? number : number * stream.blockSize, blockSize };
}

const CRC8 = table(8, 0x07);
const CRC16 = table(16, 0x8005);

function table(bits: number, polynomial: number): Uint16Array {
  const top = 1 << (bits - 1);
  const mask = 2 ** bits - 1;
  return Uint16Array.from({ length: 256 }, (_, byte) => {
    let crc = byte << (bits - 8);
    for (let k = 0; k < 8; k++) crc = (crc & top ? (crc << 1) ^ polynomial : crc << 1) & mask;
    return crc;
  });
}

function crc8(b: Uint8Array, from: number, to: number): number {
  let crc = 0;
  for (let i = from; i < to; i++) crc = CRC8[crc ^ b[i]];
  return crc;
}

/**
 * CRC-16 of the bytes [from, to), going on from `crc`, that of those before: 0 for a whole frame, whose last two bytes are its
 * own checksum.
 */
export function crc16(b: Uint8Array, from: number, to: number, crc = 0): number {
  for (let i = from; i < to; i++) crc = ((crc << 8) & 0xffff) ^ CRC16[(crc >> 8) ^ b[i]];
  return crc;
}
