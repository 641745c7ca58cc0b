/** Chunks of audio put together, fading from one to the next where they overlap. */

/**
 * Every sample is the average of the chunks that hold it, weighted by a triangle that is highest in a chunk's middle (EnCodec's
 * linear overlap-add): where two overlap, one fades out linearly while the other fades in.
 */
export class OverlapAdd {
  private readonly rows: number;
  private readonly channels: number;
  private readonly stride: number;
  private readonly weights: number[] = [];
  /** Per row and channel the weighted sums, and the sums of weights, from the sample `taken` on. */
  private sums: Float64Array<ArrayBuffer>[];
  private totals = new Float64Array(0);
  private taken = 0;
  private count = 0;

  /** Chunks begin every `stride` samples. */
  constructor(rows: number, channels: number, stride: number) {
    this.rows = rows;
    this.channels = channels;
    this.stride = stride;
    this.sums = Array.from({ length: rows * channels }, () => new Float64Array(0));
  }

  /** Adds the next chunk, values of [rows, channels, samples]; the first one is the longest. */
  add(values: Float32Array, samples: number): void {
    if (this.count === 0) {
      for (let i = 0; i < samples; i++) this.weights.push(0.5 - Math.abs((i + 1) / (samples + 1) - 0.5));
    }
    const start = this.count++ * this.stride - this.taken;
    this.totals = extended(this.totals, start + samples);
    for (let i = 0; i < samples; i++) this.totals[start + i] += this.weights[i];
    this.sums = this.sums.map((before, line) => {
      const sums = extended(before, start + samples);
      for (let i = 0; i < samples; i++) sums[start + i] += this.weights[i] * values[line * samples + i];
      return sums;
    });
  }

  /** The samples that no later chunk adds to and that were not taken yet, per row and channel; with `all`, the rest. */
  take(all: boolean): Float32Array[][] {
    const end = all
      ? this.totals.length
      : Math.min(this.totals.length, this.count * this.stride - this.taken);
    const lines = this.sums.map((sums) =>
      Float32Array.from({ length: end }, (_, i) => sums[i] / this.totals[i]),
    );
    this.sums = this.sums.map((sums) => sums.slice(end));
    this.totals = this.totals.slice(end);
    this.taken += end;
    return Array.from({ length: this.rows }, (_, row) =>
      lines.slice(row * this.channels, (row + 1) * this.channels),
    );
  }
}

function extended(values: Float64Array<ArrayBuffer>, length: number): Float64Array<ArrayBuffer> {
  if (values.length >= length) return values;
  const longer = new Float64Array(length);
  longer.set(values);
  return longer;
}
