/** Conditioning attributes of what is to be generated, and the streams that guidance makes of them. */
import type { AudioClip } from "../../data/audio/audio.ts";
import { type AudioForm, convertAudio } from "../../data/audio/convert.ts";
import { type ConditioningAttributes, emptyAttributes, type WavCondition } from "../../data/conditioning.ts";
import { UserError } from "../../errors.ts";
import { tf } from "../../runtime/index.ts";
import { type ConditioningProvider, nullConditions, withoutTexts } from "../conditioners/provider.ts";
import type { ConditionStreams } from "../lm/generation.ts";
import type { AudioBatch, GenerationParams } from "./params.ts";

/** The attribute that descriptions are for. */
const DESCRIPTION = "description";
/** The attribute that melodies (and styles) are for. */
const MELODY = "self_wav";

/**
 * A sample per description, with every attribute that the model has a conditioner for; those that are not given are null.
 * @throws UserError when the model has no use for descriptions or melodies that are given
 */
export function describedSamples(
  descriptions: readonly (string | null)[],
  melody: AudioBatch<Float32Array[] | null> | null | undefined,
  provider: ConditioningProvider,
  form: AudioForm,
): ConditioningAttributes[] {
  const conditioners = Object.entries(provider.conditioners);
  const names = conditioners.map(([name]) => name).join(", ") || "none";
  const has = (wanted: string, kinds: string[]) =>
    conditioners.some(([name, { kind }]) => name === wanted && kinds.includes(kind));
  if (!has(DESCRIPTION, ["text", "joint_embed"]) && descriptions.some((description) => description !== null))
    throw new UserError(
      `this model takes no descriptions: it has no condition ${DESCRIPTION} (it has: ${names})`,
    );
  if (melody && !has(MELODY, ["wav"]))
    throw new UserError(`this model takes no melodies: it has no condition ${MELODY} (it has: ${names})`);
  if (melody && melody.audio.length !== descriptions.length)
    throw new UserError(`${melody.audio.length} melodies for ${descriptions.length} descriptions`);

  const silence = nullCondition(form.sampleRate);
  return descriptions.map((description, row) => {
    const samples = melody?.audio[row] ?? null;
    const wav =
      samples && melody
        ? wavCondition(convertAudio({ samples, sampleRate: melody.sampleRate }, form))
        : silence;
    const sample = emptyAttributes();
    for (const [name, { kind }] of conditioners) {
      const text = name === DESCRIPTION ? description : null;
      if (kind === "text") sample.text[name] = text;
      else if (kind === "wav") sample.wav[name] = name === MELODY ? wav : silence;
      else sample.joint_embed[name] = { ...silence, text };
    }
    return sample;
  });
}

/** Whether any sample has audio as a condition. */
export function hasWavs(samples: readonly ConditioningAttributes[]): boolean {
  return samples.some(({ wav }) => Object.values(wav).some(({ length }) => length > 0));
}

/**
 * The samples for a window of long audio that begins `seconds` into it: their melodies from there on, repeated from their
 * begin as often as it takes, `duration` seconds long.
 */
export function melodiesFrom(
  samples: readonly ConditioningAttributes[],
  seconds: number,
  duration: number,
): ConditioningAttributes[] {
  return samples.map((sample) => ({
    ...sample,
    wav: Object.fromEntries(
      Object.entries(sample.wav).map(([name, condition]) => [
        name,
        repeatedFrom(condition, seconds, duration),
      ]),
    ),
  }));
}

function repeatedFrom(condition: WavCondition, seconds: number, duration: number): WavCondition {
  const { length: period, shape, sampleRate } = condition;
  if (period === 0) return condition;
  const [, channels, stored] = shape;
  const start = Math.floor(seconds * sampleRate);
  const length = Math.floor(duration * sampleRate);
  const wav = new Float32Array(channels * length);
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < length; i++) wav[c * length + i] = condition.wav[c * stored + ((start + i) % period)];
  return { wav, shape: [1, channels, length], length, sampleRate, path: null, seekTime: 0 };
}

type GuidanceParams = Pick<GenerationParams, "cfgCoef" | "cfgCoefBeta" | "twoStepCfg">;

/** @throws UserError for double guidance of a model that has no audio conditions, or in two steps */
export function checkGuidance(
  { conditioners }: ConditioningProvider,
  { cfgCoefBeta, twoStepCfg }: GuidanceParams,
): void {
  if (cfgCoefBeta === null) return;
  if (twoStepCfg)
    throw new UserError(
      "twoStepCfg=true is not built for double guidance (cfgCoefBeta): leave one of them out",
    );
  // without audio, "without texts" is "without any condition"
  if (Object.values(conditioners).every(({ kind }) => kind === "text"))
    throw new UserError(
      `cfgCoefBeta=${cfgCoefBeta}: double guidance needs a model with audio conditions; with texts alone cfgCoef does the same`,
    );
}

/**
 * The rows that run together under the guidance that `params` ask for. Rows without any condition need none: both sides of it
 * are the same. The caller disposes of the tensors.
 */
export async function conditionStreams(
  provider: ConditioningProvider,
  samples: readonly ConditioningAttributes[],
  { cfgCoef, cfgCoefBeta, twoStepCfg }: GuidanceParams,
): Promise<ConditionStreams> {
  const streams: ConditionStreams["streams"] = [];
  try {
    const add = async (rows: readonly ConditioningAttributes[]) => {
      await provider.load(rows);
      streams.push(provider.prepare(rows, { training: false }));
    };
    const nulls = nullConditions(samples);
    const single = cfgCoefBeta === null;
    if ((single && cfgCoef === 1) || !samples.some(isConditioned)) {
      await add(samples);
      return { guidance: "none", streams };
    }
    if (!single) {
      await add([...samples, ...withoutTexts(samples), ...nulls]);
      return { guidance: "double", streams };
    }
    if (twoStepCfg) {
      await add(samples);
      await add(nulls);
      return { guidance: "two-step", streams };
    }
    await add([...samples, ...nulls]);
    return { guidance: "joint", streams };
  } catch (error) {
    tf.dispose(streams as never);
    throw error;
  }
}

function isConditioned({ text, wav, joint_embed }: ConditioningAttributes): boolean {
  return (
    Object.values(text).some((value) => value !== null) ||
    Object.values(wav).some(({ length }) => length > 0) ||
    Object.values(joint_embed).some((joint) => joint.length > 0 || joint.text !== null)
  );
}

function wavCondition({ samples, sampleRate }: AudioClip): WavCondition {
  const length = samples[0].length;
  const wav = new Float32Array(samples.length * length);
  for (const [c, channel] of samples.entries()) wav.set(channel, c * length);
  return { wav, shape: [1, samples.length, length], length, sampleRate, path: null, seekTime: null };
}

/** One sample of silence that counts as no condition. */
function nullCondition(sampleRate: number): WavCondition {
  return { wav: new Float32Array(1), shape: [1, 1, 1], length: 0, sampleRate, path: null, seekTime: null };
}
