/** Taking the melody out of a mix, by a model that separates stems. None comes with this project: it is a file of the user's. */
import { existsSync } from "node:fs";
import { resample } from "../../data/audio/resample.ts";
import { UserError } from "../../errors.ts";

/** AudioCraft keeps the stems "vocals" and "other" of HT Demucs: drums and bass dominate a chromagram. */
export interface StemSeparator {
  /** Names the model: embeddings made with different ones are not mixed up. */
  readonly name: string;
  /** Mono samples at `sampleRate` -> as many, with the melody alone. */
  melody(wav: Float32Array, sampleRate: number): Promise<Float32Array>;
}

/**
 * Runs a chunk: stereo float32 [1, 2, T] at 44.1 kHz -> stems [1, 4, 2, T] in HT Demucs's order (drums, bass, other, vocals).
 */
export type RunStemModel = (chunk: Float32Array) => Promise<Float32Array>;

const RATE = 44100;
const STEMS = 4;
/** other, vocals */
const MELODIC = [2, 3];
/** HT Demucs was trained on chunks of 7.8 s. */
const CHUNK = Math.trunc(7.8 * RATE);
/** Chunks overlap by a quarter, and fade into each other. */
const STRIDE = Math.trunc(0.75 * CHUNK);

/** The separator in an ONNX file. @throws UserError when there is none, or nothing to run it with */
export async function openStemSeparator(path: string): Promise<StemSeparator> {
  if (!path.endsWith(".onnx")) {
    throw new UserError(
      `stem_separator=${path}: an ONNX file of HT Demucs is expected, with the ending .onnx`,
    );
  }
  if (!existsSync(path)) throw new UserError(`stem_separator=${path}: there is no such file`);
  return new StemModelSeparator(path, await openOnnx(path));
}

/** Cuts audio into the model's chunks, and adds up what it returns for them. */
export class StemModelSeparator implements StemSeparator {
  readonly name: string;
  private readonly run: RunStemModel;

  constructor(name: string, run: RunStemModel) {
    this.name = name;
    this.run = run;
  }

  async melody(wav: Float32Array, sampleRate: number): Promise<Float32Array> {
    const mix = resample([wav], sampleRate, RATE)[0];
    const sum = new Float32Array(mix.length);
    const weights = new Float32Array(mix.length);
    for (let start = 0; start === 0 || start < mix.length - (CHUNK - STRIDE); start += STRIDE) {
      const part = mix.subarray(start, start + CHUNK);
      const melody = await this.melodyOfChunk(part);
      for (let i = 0; i < part.length; i++) {
        const weight = Math.min(i + 1, CHUNK - i);
        sum[start + i] += weight * melody[i];
        weights[start + i] += weight;
      }
    }
    const separated = sum.map((value, i) => value / weights[i]);
    const back = resample([separated], RATE, sampleRate)[0];
    const out = new Float32Array(wav.length); // resampling there and back may lose a sample
    out.set(back.subarray(0, out.length));
    return out;
  }

  /** The melodic stems together, mono. */
  private async melodyOfChunk(mono: Float32Array): Promise<Float32Array> {
    const stereo = new Float32Array(2 * CHUNK);
    stereo.set(mono);
    stereo.set(mono, CHUNK);
    const stems = await this.run(stereo);
    if (stems.length !== STEMS * 2 * CHUNK) {
      throw new UserError(
        `stem_separator=${this.name}: it returns ${stems.length} values for a chunk, not ${STEMS} stems of 2 x ${CHUNK}`,
      );
    }
    const rows = MELODIC.flatMap((stem) => [2 * stem, 2 * stem + 1]);
    const melody = new Float32Array(CHUNK);
    for (const row of rows) for (let i = 0; i < CHUNK; i++) melody[i] += stems[row * CHUNK + i] / 2;
    return melody;
  }
}

/** The part of onnxruntime-node that is used. */
interface OnnxRuntime {
  Tensor: new (type: "float32", data: Float32Array, dims: number[]) => { data: Float32Array };
  InferenceSession: {
    create(path: string): Promise<{
      inputNames: string[];
      outputNames: string[];
      run(inputs: Record<string, unknown>): Promise<Record<string, { data: Float32Array }>>;
    }>;
  };
}

async function openOnnx(path: string): Promise<RunStemModel> {
  const onnx = await importOnnxRuntime(path);
  try {
    const session = await onnx.InferenceSession.create(path);
    const [input] = session.inputNames;
    const [output] = session.outputNames;
    return async (chunk) => {
      const result = await session.run({ [input]: new onnx.Tensor("float32", chunk, [1, 2, CHUNK]) });
      return result[output].data;
    };
  } catch (error) {
    throw new UserError(`stem_separator=${path}: cannot be opened: ${(error as Error).message}`);
  }
}

/** Not among this project's packages, because few need it. */
async function importOnnxRuntime(path: string): Promise<OnnxRuntime> {
  const name = "onnxruntime-node";
  try {
    const module = await import(name);
    return module.default ?? module;
  } catch {
    throw new UserError(`stem_separator=${path} needs the package ${name}: npm install --no-save ${name}`);
  }
}
