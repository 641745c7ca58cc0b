/** Which frequencies belong to which pitch class: the filters that make a chromagram out of a power spectrum. */

/**
 * Chroma filters float32 [nChroma, 1 + nFft / 2] (librosa's `filters.chroma` with tuning 0, base C, octave weighting).
 *
 * Bin f lies at p = nChroma log2(f / 27.5 Hz). A class at distance d (in classes, around the octave) weighs
 * exp(-(2 d / width)^2 / 2), where width is the distance to the next bin, 1 at least; the weights of a bin have norm 1, times
 * exp(-((p / nChroma - 5) / 2)^2 / 2), which favours the middle octaves.
 */
export function chromaBank(sampleRate: number, nFft: number, nChroma: number): Float32Array {
  const bins = 1 + Math.floor(nFft / 2);
  const pitches = binPitches(sampleRate, nFft, nChroma);
  const half = roundHalfEven(nChroma / 2);
  const shift = 3 * Math.floor(nChroma / 12); // from A to C
  const bank = new Float32Array(nChroma * bins);
  const weights = new Float64Array(nChroma);
  for (let bin = 0; bin < bins; bin++) {
    const width = bin + 1 < nFft ? Math.max(pitches[bin + 1] - pitches[bin], 1) : 1;
    for (let c = 0; c < nChroma; c++) {
      const distance = modulo(pitches[bin] - c + half + 10 * nChroma, nChroma) - half;
      weights[c] = Math.exp(-0.5 * ((2 * distance) / width) ** 2);
    }
    const norm = Math.sqrt(weights.reduce((sum, weight) => sum + weight * weight, 0)) || 1;
    const octave = Math.exp(-0.5 * ((pitches[bin] / nChroma - 5) / 2) ** 2);
    for (let c = 0; c < nChroma; c++) {
      bank[modulo(c - shift, nChroma) * bins + bin] = (weights[c] / norm) * octave;
    }
  }
  return bank;
}

/** Classes above 27.5 Hz of each bin up to the sample rate; bin 0, which has no pitch, lies 1.5 octaves below bin 1. */
function binPitches(sampleRate: number, nFft: number, nChroma: number): Float64Array {
  const pitches = Float64Array.from(
    { length: nFft },
    (_, bin) => nChroma * Math.log2((bin * sampleRate) / nFft / 27.5),
  );
  pitches[0] = pitches[1] - 1.5 * nChroma;
  return pitches;
}

function modulo(x: number, n: number): number {
  return ((x % n) + n) % n;
}

function roundHalfEven(x: number): number {
  return x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x);
}
