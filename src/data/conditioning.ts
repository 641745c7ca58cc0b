/** Attributes that condition a generation, and their null values (what dropping an attribute leaves). */

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
