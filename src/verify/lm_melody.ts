/** The melody condition of a golden language model: the real chroma conditioner, over the recorded waveforms. */
import { collateWavs, nullWav, type WavCondition } from "../data/conditioning.ts";
import type { Conditioner } from "../models/conditioners/base.ts";
import { ChromaStemConditioner } from "../models/conditioners/chroma.ts";
import { InitializerStream } from "../nn/index.ts";
import type { GoldenFolder, Json } from "./folder.ts";
import type { GoldenCondition } from "./lm_conditions.ts";

interface ChromaSettings {
  sample_rate: number;
  n_chroma?: number;
  radix2_exp?: number;
  argmax?: boolean;
  match_len_on_eval?: boolean;
  duration?: number;
  chroma_length?: number;
}

/**
 * The settings are `conditioners.NAME.chroma_stem` of meta.json, the waveforms `NAME.wav` [B, T] with `NAME.length` valid samples
 * (0: none). Null where the folder has none of it.
 */
export function melodyCondition(
  folder: GoldenFolder,
  name: string,
  outputDim: number,
): GoldenCondition | null {
  const section = ((folder.meta.conditioners ?? {}) as Record<string, Json>)[name];
  const settings = section?.chroma_stem as ChromaSettings | undefined;
  const inputs = folder.tensors("inputs");
  if (settings === undefined || !inputs.has(`${name}.wav`) || !inputs.has(`${name}.length`)) return null;
  const { sample_rate: sampleRate, n_chroma: nChroma = 12, radix2_exp: radix2Exp = 12 } = settings;
  const conditioner = new ChromaStemConditioner(
    {
      outputDim,
      sampleRate,
      nChroma,
      radix2Exp,
      argmax: settings.argmax ?? false,
      duration: settings.duration ?? 30,
      chromaLength: settings.chroma_length ?? null,
      matchLength: settings.match_len_on_eval ?? true,
    },
    new InitializerStream(0),
  );
  const wavs = wavsOf(folder, name, sampleRate);
  const prepare = (rows: readonly (number | null)[]) => {
    const column = rows.map((row) => (row === null ? nullWav(wavs[0]) : wavs[row]));
    return conditioner.prepare(collateWavs(column), { training: false });
  };
  return { name, conditioner: conditioner as unknown as Conditioner, prepare };
}

function wavsOf(folder: GoldenFolder, name: string, sampleRate: number): WavCondition[] {
  const lengths = folder.values("inputs", `${name}.length`);
  const samples = folder.tensors("inputs").shape(`${name}.wav`).at(-1)!;
  const all = Float32Array.from(folder.values("inputs", `${name}.wav`));
  return Array.from(lengths, (length, row) => {
    const wav: WavCondition = {
      wav: all.slice(row * samples, (row + 1) * samples),
      shape: [1, 1, samples],
      length,
      sampleRate,
      path: null,
      seekTime: null,
    };
    return length > 0 ? wav : nullWav(wav);
  });
}
