/** Oscillator waveforms as one-cycle tables, built of the harmonics below a limit only: nothing can alias. */

export type Shape = "sine" | "square" | "triangle" | "sawtooth" | "organ";

const SIZE = 2048;

/** Harmonics above this many Hz are left out, so that the music stays within what a small codec hears. */
const HIGHEST_HARMONIC = 6000;

/** Amplitude of harmonic k of each shape (Fourier series), with sine phases. */
const SERIES: Record<Shape, (k: number) => number> = {
  sine: (k) => (k === 1 ? 1 : 0),
  square: (k) => (k % 2 === 1 ? 4 / (Math.PI * k) : 0),
  triangle: (k) => (k % 2 === 1 ? ((k % 4 === 1 ? 1 : -1) * 8) / (Math.PI * k) ** 2 : 0),
  sawtooth: (k) => 2 / (Math.PI * k),
  // Drawbars 8', 4', 2 2/3', 2', 1 1/3', 1'.
  organ: (k) => ({ 1: 0.5, 2: 0.4, 3: 0.28, 4: 0.22, 6: 0.12, 8: 0.1 })[k] ?? 0,
};

const SINE = Float64Array.from({ length: SIZE + 1 }, (_, i) => Math.sin((2 * Math.PI * i) / SIZE));
const tables = new Map<string, Float64Array>();

/** The table of `shape` for a note of `frequency` Hz; its last entry repeats the first. */
export function wavetable(shape: Shape, frequency: number, sampleRate: number): Float64Array {
  const limit = Math.min(HIGHEST_HARMONIC, 0.45 * sampleRate);
  const harmonics = shape === "sine" ? 1 : Math.max(1, Math.floor(limit / frequency));
  const name = `${shape} ${harmonics}`;
  let table = tables.get(name);
  if (!table) {
    table = buildTable(SERIES[shape], harmonics);
    tables.set(name, table);
  }
  return table;
}

/** Value of a table at a phase in cycles (>= 0), linearly interpolated. */
export function lookUp(table: Float64Array, phase: number): number {
  const position = (phase - Math.floor(phase)) * SIZE;
  const index = position | 0;
  return table[index] + (position - index) * (table[index + 1] - table[index]);
}

/** sin(2 pi phase), from a table. */
export function sine(phase: number): number {
  return lookUp(SINE, phase);
}

function buildTable(amplitude: (k: number) => number, harmonics: number): Float64Array {
  const table = new Float64Array(SIZE + 1);
  for (let k = 1; k <= harmonics; k++) {
    const a = amplitude(k) * lanczos(k / (harmonics + 1));
    if (a === 0) continue;
    for (let i = 0; i <= SIZE; i++) table[i] += a * SINE[(i * k) % SIZE];
  }
  return table;
}

/** Sigma factor: fades the last harmonics so that cutting the series does not ring. */
function lanczos(x: number): number {
  return Math.sin(Math.PI * x) / (Math.PI * x);
}
