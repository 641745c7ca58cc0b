/** Attributes that condition a generation: their null values (what dropping an attribute leaves), and their batches. */

/** One item's waveform condition. `wav` is planar [1, C, T]; `length` counts its valid samples. */
export interface WavCondition {
  wav: Float32Array;
  shape: [1, number, number];
  length: number;
  sampleRate: number;
  path: string | null;
  seekTime: number | null;
}

/** A waveform and a text that share one embedding. */
export interface JointEmbedCondition extends WavCondition {
  text: string | null;
}

export interface ConditioningAttributes {
  text: Record<string, string | null>;
  wav: Record<string, WavCondition>;
  joint_embed: Record<string, JointEmbedCondition>;
}

export function emptyAttributes(): ConditioningAttributes {
  return { text: {}, wav: {}, joint_embed: {} };
}

/** One zero sample per channel of length 0, from nowhere. The rate is kept. */
export function nullWav(condition: WavCondition): WavCondition {
  const channels = condition.shape[1];
  return {
    wav: new Float32Array(channels),
    shape: [1, channels, 1],
    length: 0,
    sampleRate: condition.sampleRate,
    path: null,
    seekTime: null,
  };
}

export function nullJointEmbed(condition: JointEmbedCondition): JointEmbedCondition {
  return { ...nullWav(condition), seekTime: 0, text: null };
}

/** The waveform conditions of a batch, mono and zero padded to the longest: [B, 1, T]. */
export interface WavBatch {
  /** B * T values */
  wav: Float32Array;
  shape: [number, 1, number];
  /** The rows as they came. */
  conditions: readonly WavCondition[];
  /** Valid samples of each row: 0 for a null condition. */
  lengths: number[];
  sampleRates: number[];
  paths: (string | null)[];
  /** Seconds at which each row starts in its file. */
  seekTimes: (number | null)[];
}

export interface JointEmbedBatch extends WavBatch {
  texts: (string | null)[];
}

/** Means of the channels, padded with zeros to the longest. The lengths are those of the conditions, not of their arrays. */
export function collateWavs(conditions: readonly WavCondition[]): WavBatch {
  const longest = Math.max(1, ...conditions.map(({ shape }) => shape[2]));
  const wav = new Float32Array(conditions.length * longest);
  for (const [row, condition] of conditions.entries()) wav.set(mono(condition), row * longest);
  return {
    wav,
    shape: [conditions.length, 1, longest],
    conditions,
    lengths: conditions.map(({ length }) => length),
    sampleRates: conditions.map(({ sampleRate }) => sampleRate),
    paths: conditions.map(({ path }) => path),
    seekTimes: conditions.map(({ seekTime }) => seekTime),
  };
}

export function collateJointEmbeds(conditions: readonly JointEmbedCondition[]): JointEmbedBatch {
  return { ...collateWavs(conditions), texts: conditions.map(({ text }) => text) };
}

/** The mean of the channels [T]. */
function mono({ wav, shape }: WavCondition): Float32Array {
  const [, channels, samples] = shape;
  if (channels === 1) return wav;
  const mean = new Float32Array(samples);
  for (let t = 0; t < samples; t++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += wav[c * samples + t];
    mean[t] = sum / channels;
  }
  return mean;
}
