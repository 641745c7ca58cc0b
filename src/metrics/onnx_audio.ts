/** Embeddings and classes of audio from ONNX files, which take samples or what VGGish takes. */
import { UserError } from "../errors.ts";
import { type EmbeddingModel, vectorsOf } from "./embedding_model.ts";
import { type AudioClassifier, softmax } from "./kl_divergence.ts";
import { padded, windows } from "./metric.ts";
import type { OnnxModel } from "./onnx.ts";
import { VGGISH_RATE, VGGISH_SHAPE, vggishExamples } from "./vggish.ts";

export interface OnnxEmbeddingOptions {
  sampleRate: number;
  /** Seconds that the model hears at once; null: what its input says, or the whole clip. */
  window: number | null;
}

/** The vectors that a model makes of samples: its output's last axis, one for each place on the others. */
export class OnnxEmbeddings implements EmbeddingModel {
  readonly sampleRate: number;
  private readonly model: OnnxModel;
  private readonly window: number | null;

  /** @throws UserError when the model does not take samples */
  constructor(model: OnnxModel, { sampleRate, window }: OnnxEmbeddingOptions) {
    this.model = model;
    this.sampleRate = sampleRate;
    this.window = inputSamples(model) ?? (window === null ? null : Math.round(window * sampleRate));
  }

  /** Whole windows; of a clip that is shorter, one that is filled up with zeros. */
  async embed(wav: Float32Array): Promise<Float32Array[]> {
    const size = this.window ?? wav.length;
    const found: Float32Array[] = [];
    for (const window of windows(wav, size, size)) {
      const { values, shape } = await runOnSamples(this.model, padded(window, size));
      found.push(...vectorsOf(values, shape[shape.length - 1]));
    }
    return found;
  }

  dispose(): void {
    this.model.dispose();
  }
}

/** A VGGish without its front end: log-mel spectrograms [n, 1, 96, 64] (or [n, 96, 64]) in, a vector of each out. */
export class VggishEmbeddings implements EmbeddingModel {
  readonly sampleRate = VGGISH_RATE;
  private readonly model: OnnxModel;

  /** @throws UserError when the model takes something else */
  constructor(model: OnnxModel) {
    const { inputShape: shape } = model;
    const fits = (size: number | string, wanted: number) => typeof size === "string" || size === wanted;
    const [frames, bands] = VGGISH_SHAPE;
    const isExamples =
      (shape.length === 3 || (shape.length === 4 && fits(shape[1], 1))) &&
      fits(shape[shape.length - 2], frames) &&
      fits(shape[shape.length - 1], bands);
    if (!isExamples) {
      throw new UserError(
        `${model.path}: an input [n, 1, ${frames}, ${bands}] is needed; it takes ${model.describeInputs()}`,
      );
    }
    this.model = model;
  }

  async embed(wav: Float32Array): Promise<Float32Array[]> {
    const dims = [1, ...(this.model.inputShape.length === 4 ? [1] : []), ...VGGISH_SHAPE];
    const found: Float32Array[] = [];
    for (const example of vggishExamples(wav)) found.push((await this.model.run(example, dims)).values);
    return found;
  }

  dispose(): void {
    this.model.dispose();
  }
}

export interface OnnxClassifierOptions {
  sampleRate: number;
  /** Seconds of a piece, where the file does not say it. */
  length: number;
}

/** A classifier of samples: its output is logits [classes], or several such rows, whose probabilities are averaged. */
export class OnnxClassifier implements AudioClassifier {
  readonly sampleRate: number;
  readonly maxSamples: number;
  private readonly model: OnnxModel;
  /** Samples that its input must have. */
  private readonly samples: number | null;

  /** @throws UserError when the model does not take samples */
  constructor(model: OnnxModel, { sampleRate, length }: OnnxClassifierOptions) {
    this.model = model;
    this.sampleRate = sampleRate;
    this.samples = inputSamples(model);
    this.maxSamples = this.samples ?? Math.round(length * sampleRate);
  }

  /** Short pieces stay so, because padding changes what is heard; unless the model takes one length only. */
  async classify(wav: Float32Array): Promise<Float32Array> {
    const { values, shape } = await runOnSamples(this.model, padded(wav, this.samples ?? 0));
    const rows = vectorsOf(values, shape[shape.length - 1]).map(softmax);
    return rows[0].map((_, c) => rows.reduce((sum, row) => sum + row[c], 0) / rows.length);
  }

  dispose(): void {
    this.model.dispose();
  }
}

/** How many samples a model's input must have; null: any number. @throws UserError when it does not take samples */
function inputSamples(model: OnnxModel): number | null {
  const { inputShape: shape, path } = model;
  const isSamples =
    shape.length >= 1 &&
    shape.length <= 3 &&
    shape.slice(0, -1).every((size) => typeof size === "string" || size === 1);
  if (!isSamples) {
    throw new UserError(
      `${path}: an input [samples], [1, samples] or [1, 1, samples] is needed; it takes ${model.describeInputs()}`,
    );
  }
  const last = shape[shape.length - 1];
  return typeof last === "number" && last > 0 ? last : null;
}

function runOnSamples(model: OnnxModel, wav: Float32Array) {
  const before = Array<number>(model.inputShape.length - 1).fill(1);
  return model.run(wav.slice(), [...before, wav.length]);
}
