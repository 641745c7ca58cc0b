/** MP3 by LAME (in WebAssembly), with the tag that tells players where the music begins and ends. */
import { createMp3Encoder } from "wasm-media-encoders";
import { UserError } from "../../errors.ts";
import { parseMpegHeader } from "./mp3_index.ts";

/** Samples of silence that LAME puts before the music, and the delay of a decoder, which its padding covers too. */
const ENCODER_DELAY = 576;
const DECODER_DELAY = 529;
/** A frame header, the longest side information, the Xing fields and LAME's. */
const TAG_BYTES = 4 + 32 + 120 + 36;

const SAMPLE_RATES = [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000];
const BIT_RATES = {
  high: [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  low: [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
};

/**
 * Encodes planar samples within [-1, 1], one or two channels, at a constant `bitRate` in kbit/s (lowered to 160 below 32 kHz,
 * the most that the format has there). Decoders that know the tag give back as many samples as went in, in place.
 * @throws UserError for rates and channels that MP3 does not have
 */
export async function encodeMp3(
  channels: Float32Array[],
  sampleRate: number,
  bitRate = 320,
): Promise<Uint8Array> {
  if (!SAMPLE_RATES.includes(sampleRate))
    throw new UserError(`MP3 has no sample rate of ${sampleRate} Hz; it has ${SAMPLE_RATES.join(", ")}`);
  if (channels.length > 2) throw new UserError(`MP3 holds one or two channels, not ${channels.length}`);
  const rates = sampleRate < 32000 ? BIT_RATES.low : BIT_RATES.high;
  const bitrate = Math.min(bitRate, rates.at(-1)!);
  if (!rates.includes(bitrate))
    throw new UserError(
      `MP3 at ${sampleRate} Hz has no bit rate of ${bitRate} kbit/s; it has ${rates.join(", ")}`,
    );
  const encoder = await createMp3Encoder();
  encoder.configure({
    sampleRate,
    outputSampleRate: sampleRate as 32000,
    channels: channels.length as 1 | 2,
    bitrate: bitrate as 320,
  });
  // The encoder reuses its output buffer: copy before the next call.
  const body = encoder.encode(channels).slice();
  const music = Buffer.concat([body, encoder.finalize()]);
  return Buffer.concat([tagFrame(music, channels[0].length), music]);
}

/**
 * A frame of silence that holds the Info tag of a constant-rate file and LAME's extension of it: number of frames, bytes, and
 * the samples to leave out at both ends.
 */
function tagFrame(music: Buffer, samples: number): Buffer {
  const first = parseMpegHeader(music[0], music[1], music[2], music[3])!;
  let rateIndex = 1;
  const header = () => parseMpegHeader(music[0], music[1], (rateIndex << 4) | (music[2] & 0x0c), music[3])!;
  while (header().size < TAG_BYTES) rateIndex++;
  const frame = Buffer.alloc(header().size);
  frame.set([music[0], music[1], (rateIndex << 4) | (music[2] & 0x0c), music[3]]);

  const frames = countFrames(music);
  const padding = frames * first.samples - ENCODER_DELAY - samples;
  if (padding < DECODER_DELAY || padding > 0xfff)
    throw new Error(`the MP3 encoder made ${frames} frames of ${samples} samples`);
  const sideInformation =
    first.version === 1 ? (first.channels === 1 ? 17 : 32) : first.channels === 1 ? 9 : 17;
  let at = 4 + sideInformation;
  frame.write("Info", at);
  frame.writeUInt32BE(0b1111, at + 4); // frames, bytes, table of contents and quality follow
  frame.writeUInt32BE(frames, at + 8);
  frame.writeUInt32BE(frame.length + music.length, at + 12);
  for (let i = 0; i < 100; i++) frame[at + 16 + i] = Math.floor((256 * i) / 100);
  at += 120;
  frame.write("LAME3.100", at);
  frame[at + 9] = 0x01; // revision 0, constant bit rate
  frame[at + 20] = Math.min(255, (8 * first.size * first.sampleRate) / first.samples / 1000);
  frame.writeUIntBE((ENCODER_DELAY << 12) | padding, at + 21, 3);
  frame.writeUInt32BE(frame.length + music.length, at + 28);
  frame.writeUInt16BE(crc16(music), at + 32);
  frame.writeUInt16BE(crc16(frame.subarray(0, at + 34)), at + 34);
  return frame;
}

function countFrames(music: Buffer): number {
  let frames = 0;
  for (let at = 0; at + 4 <= music.length; frames++) {
    const header = parseMpegHeader(music[at], music[at + 1], music[at + 2], music[at + 3]);
    if (!header) throw new Error(`no MP3 frame begins at byte ${at} of what the encoder made`);
    at += header.size;
  }
  return frames;
}

/** CRC-16 with the polynomial 0x8005, least significant bit first, starting at 0. */
function crc16(bytes: Uint8Array): number {
  let value = 0;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >> 1) ^ 0xa001 : value >> 1;
  }
  return value;
}
