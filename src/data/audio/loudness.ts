/** Integrated loudness by ITU-R BS.1770-4, with the filter design that torchaudio uses. */

const BLOCK_SECONDS = 0.4;
const CHANNEL_WEIGHTS = [1, 1, 1, 1.41, 1.41];
const ABSOLUTE_GATE = -70;
const RELATIVE_GATE = -10;
const OFFSET = -0.691;

/** Loudness in LUFS of planar samples (at most 5 channels, at least 400 ms); NaN if no block passes the gate. */
export function integratedLoudness(samples: Float32Array[], sampleRate: number): number {
  if (samples.length > CHANNEL_WEIGHTS.length)
    throw new RangeError("loudness is defined for at most 5 channels");
  const block = Math.round(BLOCK_SECONDS * sampleRate);
  const hop = Math.round((BLOCK_SECONDS * sampleRate) / 4);
  const blocks = Math.floor((samples[0].length - block) / hop) + 1;
  if (blocks < 1) throw new RangeError("loudness needs at least 400 ms of audio");
  const shelf = trebleShelf(sampleRate, 4, 1500, Math.SQRT1_2);
  const highPass = highPassFilter(sampleRate, 38, 0.5);
  const energies = samples.map((channel) =>
    blockEnergies(filter(filter(channel, shelf), highPass), block, hop, blocks),
  );
  const weighted = (c: number, select: number[]) =>
    (CHANNEL_WEIGHTS[c] * select.reduce((sum, b) => sum + energies[c][b], 0)) / select.length;
  const loudnessOf = (select: number[]) =>
    OFFSET + 10 * Math.log10(energies.reduce((sum, _, c) => sum + weighted(c, select), 0));
  const all = Array.from({ length: blocks }, (_, b) => b);
  const level = all.map((b) => loudnessOf([b]));
  const loud = all.filter((b) => level[b] > ABSOLUTE_GATE);
  const gate = loudnessOf(loud) + RELATIVE_GATE;
  return loudnessOf(loud.filter((b) => level[b] > gate));
}

function blockEnergies(channel: Float64Array, block: number, hop: number, blocks: number): Float64Array {
  const out = new Float64Array(blocks);
  for (let b = 0; b < blocks; b++) {
    let sum = 0;
    for (let i = b * hop; i < b * hop + block; i++) sum += channel[i] * channel[i];
    out[b] = sum / block;
  }
  return out;
}

interface Biquad {
  b: [number, number, number];
  a: [number, number, number];
}

/** High shelf of the Audio EQ Cookbook (R. Bristow-Johnson). */
function trebleShelf(sampleRate: number, gainDb: number, frequency: number, q: number): Biquad {
  const w = (2 * Math.PI * frequency) / sampleRate;
  const alpha = Math.sin(w) / 2 / q;
  const A = Math.exp((gainDb / 40) * Math.LN10);
  const t1 = 2 * Math.sqrt(A) * alpha;
  const t2 = (A - 1) * Math.cos(w);
  const t3 = (A + 1) * Math.cos(w);
  return {
    b: [A * (A + 1 + t2 + t1), -2 * A * (A - 1 + t3), A * (A + 1 + t2 - t1)],
    a: [A + 1 - t2 + t1, 2 * (A - 1 - t3), A + 1 - t2 - t1],
  };
}

/** High pass of the Audio EQ Cookbook. */
function highPassFilter(sampleRate: number, frequency: number, q: number): Biquad {
  const w = (2 * Math.PI * frequency) / sampleRate;
  const alpha = Math.sin(w) / 2 / q;
  const c = Math.cos(w);
  return { b: [(1 + c) / 2, -1 - c, (1 + c) / 2], a: [1 + alpha, -2 * c, 1 - alpha] };
}

/** Direct-form filter; like torchaudio's, its output is clamped to [-1, 1]. */
function filter(x: ArrayLike<number>, { a, b }: Biquad): Float64Array {
  const out = new Float64Array(x.length);
  const [b0, b1, b2] = b.map((v) => v / a[0]);
  const a1 = a[1] / a[0];
  const a2 = a[2] / a[0];
  let x1 = 0;
  let x2 = 0;
  let y1 = 0;
  let y2 = 0;
  for (let i = 0; i < out.length; i++) {
    const y = b0 * x[i] + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2;
    x2 = x1;
    x1 = x[i];
    y2 = y1;
    y1 = y;
    out[i] = Math.max(-1, Math.min(1, y));
  }
  return out;
}
