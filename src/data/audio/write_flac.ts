/** A small FLAC encoder: 16-bit, fixed predictors and partitioned Rice codes (RFC 9639). */
import { createHash } from "node:crypto";

const BLOCK_SIZE = 4096;
const MAX_RICE_PARAMETER = 14;

/**
 * Encodes 16-bit samples, one Int16Array per channel (1 to 8, equally long), losslessly as a FLAC file.
 * Channels are coded independently.
 * @throws RangeError for what the format cannot hold
 */
export function encodeFlac(channels: Int16Array[], sampleRate: number): Uint8Array {
  if (channels.length < 1 || channels.length > 8)
    throw new RangeError(`FLAC holds 1 to 8 channels, not ${channels.length}`);
  if (!Number.isInteger(sampleRate) || sampleRate < 1 || sampleRate > 655350)
    throw new RangeError(`FLAC holds sample rates of up to 655350 Hz, not ${sampleRate}`);
  if (channels[0].length === 0) throw new RangeError("FLAC holds at least one sample");
  const frames = channels[0].length;
  const parts: Uint8Array[] = [];
  for (let start = 0, number = 0; start < frames; start += BLOCK_SIZE, number++) {
    const block = channels.map((samples) => samples.subarray(start, start + BLOCK_SIZE));
    parts.push(encodeFrame(block, sampleRate, number));
  }
  return Buffer.concat([streamHeader(channels, sampleRate, parts), ...parts]);
}

/** "fLaC" and the one metadata block that is mandatory, STREAMINFO. */
function streamHeader(channels: Int16Array[], sampleRate: number, frames: Uint8Array[]): Uint8Array {
  const bits = new BitWriter();
  for (const character of "fLaC") bits.write(character.charCodeAt(0), 8);
  bits.write(1, 1); // last metadata block
  bits.write(0, 7); // STREAMINFO
  bits.write(34, 24);
  bits.write(BLOCK_SIZE, 16);
  bits.write(BLOCK_SIZE, 16);
  bits.write(Math.min(...frames.map((frame) => frame.length)), 24);
  bits.write(Math.max(...frames.map((frame) => frame.length)), 24);
  bits.write(sampleRate, 20);
  bits.write(channels.length - 1, 3);
  bits.write(16 - 1, 5);
  bits.write(0, 4); // high bits of the 36-bit length
  bits.write(channels[0].length, 32);
  return Buffer.concat([bits.bytes(), createHash("md5").update(interleave(channels)).digest()]);
}

function encodeFrame(channels: Int16Array[], sampleRate: number, number: number): Uint8Array {
  const size = channels[0].length;
  const bits = new BitWriter();
  bits.write(0b11111111111110, 14);
  bits.write(0, 2); // reserved; fixed block size
  bits.write(size === BLOCK_SIZE ? 0b1100 : 0b0111, 4);
  const rate = frameRate(sampleRate);
  bits.write(rate.code, 4);
  bits.write(channels.length - 1, 4);
  bits.write(0b100, 3); // 16 bits
  bits.write(0, 1);
  writeUtf8(bits, number);
  if (size !== BLOCK_SIZE) bits.write(size - 1, 16);
  if (rate.code !== 0) bits.write(rate.value, 16);
  bits.write(crc(bits.bytes(), 0x07, 8), 8);
  for (const samples of channels) writeSubframe(bits, samples);
  bits.align();
  bits.write(crc(bits.bytes(), 0x8005, 16), 16);
  return bits.bytes();
}

/** The rate as a frame says it, in Hz or tens of Hz: some decoders see a frame without STREAMINFO. Code 0 leaves it to that. */
function frameRate(sampleRate: number): { code: number; value: number } {
  if (sampleRate <= 0xffff) return { code: 0b1101, value: sampleRate };
  if (sampleRate % 10 === 0) return { code: 0b1110, value: sampleRate / 10 };
  return { code: 0, value: 0 };
}

/** One channel of a block: the first samples as they are, then the residual of the best predictor. */
function writeSubframe(bits: BitWriter, samples: Int16Array): void {
  const { order, residual } = predict(samples);
  bits.write(0, 1);
  bits.write(0b001000 | order, 6); // fixed predictor
  bits.write(0, 1); // no wasted bits
  for (let i = 0; i < order; i++) bits.write(samples[i] & 0xffff, 16);
  const partitionOrder = samples.length === BLOCK_SIZE ? 3 : 0;
  bits.write(0, 2); // Rice codes with 4-bit parameters
  bits.write(partitionOrder, 4);
  const size = samples.length >> partitionOrder;
  for (let p = 0; p < 1 << partitionOrder; p++) {
    writePartition(bits, residual.subarray(Math.max(p * size, order), (p + 1) * size));
  }
}

/** Order n predicts by the polynomial through the last n samples, so its residual is the n-th difference. */
function predict(samples: Int16Array): { order: number; residual: Int32Array } {
  let difference = Int32Array.from(samples);
  let best = { order: 0, residual: difference, cost: Number.POSITIVE_INFINITY };
  for (let order = 0; order <= Math.min(4, samples.length - 1); order++) {
    if (order > 0) difference = difference.map((x, i) => (i < order ? 0 : x - difference[i - 1]));
    let cost = 0;
    for (let i = order; i < difference.length; i++) cost += Math.abs(difference[i]);
    if (cost < best.cost) best = { order, residual: difference, cost };
  }
  return best;
}

/** Rice code with the parameter that costs the fewest bits: quotient in unary, remainder in binary. */
function writePartition(bits: BitWriter, residual: Int32Array): void {
  const folded = residual.map((x) => (x >= 0 ? 2 * x : -2 * x - 1));
  const total = folded.reduce((sum, x) => sum + x, 0);
  let parameter = 0;
  const cost = (k: number) => folded.length * (k + 1) + total / 2 ** k;
  while (parameter < MAX_RICE_PARAMETER && cost(parameter + 1) < cost(parameter)) parameter++;
  bits.write(parameter, 4);
  for (const x of folded) {
    bits.writeUnary(x >>> parameter);
    bits.write(x & ((1 << parameter) - 1), parameter);
  }
}

/** The frame number in UTF-8's scheme; three bytes reach 65,535 frames, over an hour at any usual rate. */
function writeUtf8(bits: BitWriter, value: number): void {
  if (value > 0xffff) throw new RangeError(`too long for this FLAC encoder: frame ${value}`);
  if (value < 0x80) {
    bits.write(value, 8);
  } else if (value < 0x800) {
    bits.write(0xc0 | (value >> 6), 8);
    bits.write(0x80 | (value & 0x3f), 8);
  } else {
    bits.write(0xe0 | (value >> 12), 8);
    bits.write(0x80 | ((value >> 6) & 0x3f), 8);
    bits.write(0x80 | (value & 0x3f), 8);
  }
}

/** Cyclic redundancy check, most significant bit first, starting at 0. */
function crc(bytes: Uint8Array, polynomial: number, width: number): number {
  const top = 1 << (width - 1);
  const mask = (1 << width) - 1;
  let value = 0;
  for (const byte of bytes) {
    value ^= byte << (width - 8);
    for (let bit = 0; bit < 8; bit++)
      value = ((value & top ? (value << 1) ^ polynomial : value << 1) & mask) >>> 0;
  }
  return value;
}

/** Interleaved little-endian samples (as on x64), of which FLAC's MD5 is taken. */
function interleave(channels: Int16Array[]): Uint8Array {
  const stride = channels.length;
  const out = new Int16Array(stride * channels[0].length);
  channels.forEach((samples, c) => {
    for (let i = 0; i < samples.length; i++) out[i * stride + c] = samples[i];
  });
  return new Uint8Array(out.buffer);
}

/** Bits to bytes, most significant bit first. */
class BitWriter {
  private buffer = new Uint8Array(4096);
  private position = 0; // in bits

  /** The low `count` (0 to 32) bits of `value`. */
  write(value: number, count: number): void {
    if ((this.position + count) >> 3 >= this.buffer.length) this.grow();
    while (count > 0) {
      const room = 8 - (this.position & 7);
      const taken = Math.min(room, count);
      const chunk = (value >>> (count - taken)) & ((1 << taken) - 1);
      this.buffer[this.position >> 3] |= chunk << (room - taken);
      this.position += taken;
      count -= taken;
    }
  }

  /** `zeros` zeros and a one. */
  writeUnary(zeros: number): void {
    for (; zeros >= 32; zeros -= 32) this.write(0, 32);
    this.write(1, zeros + 1);
  }

  /** Zeros up to the next whole byte. */
  align(): void {
    this.position = (this.position + 7) & ~7;
  }

  /** What has been written, the last byte filled with zeros. */
  bytes(): Uint8Array {
    return this.buffer.subarray(0, (this.position + 7) >> 3);
  }

  private grow(): void {
    const larger = new Uint8Array(this.buffer.length * 2);
    larger.set(this.buffer);
    this.buffer = larger;
  }
}
