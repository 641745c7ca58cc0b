/** Whether generated audio follows the melody of its reference: the mean cosine of their chroma, frame by frame (arXiv 2306.05284). */
import { UserError } from "../errors.ts";
import { ChromaExtractor } from "../models/conditioners/chroma_extractor.ts";
import { type ClipPair, type GenerationMetric, mono } from "./metric.ts";

export interface ChromaCosineOptions {
  sampleRate: number;
  nChroma: number;
  radix2Exp: number;
  /** Only the strongest class of a frame counts; the metric is then the part of the frames in which it is the same. */
  argmax: boolean;
}

const EPSILON = 1e-8;

export class ChromaCosineSimilarity implements GenerationMetric {
  private readonly extractor: ChromaExtractor;
  private readonly sampleRate: number;
  private sum = 0;
  private frames = 0;

  constructor(options: ChromaCosineOptions) {
    this.extractor = new ChromaExtractor(options);
    this.sampleRate = options.sampleRate;
  }

  /** Chroma are those of the whole clips, of which the frames count that begin before the padding. */
  async update({ generated, reference, sampleRate, length }: ClipPair): Promise<void> {
    const { extractor } = this;
    const [ours, theirs] = [generated, reference].map((samples) =>
      extractor.extract(mono(samples, sampleRate, this.sampleRate)),
    );
    const valid = Math.ceil((length * this.sampleRate) / sampleRate / extractor.hop);
    const frames = Math.min(valid, ours.length / extractor.nChroma);
    for (let frame = 0; frame < frames; frame++) this.sum += cosine(ours, theirs, frame, extractor.nChroma);
    this.frames += frames;
  }

  compute(): { chroma_cosine: number } {
    if (this.frames === 0) throw new UserError("chroma_cosine: there was no audio to compare");
    return { chroma_cosine: this.sum / this.frames };
  }

  dispose(): void {
    this.extractor.dispose();
  }
}

/** Cosine of row `row` of two matrices; that with a zero is 0. */
function cosine(a: Float32Array, b: Float32Array, row: number, size: number): number {
  let [product, normA, normB] = [0, 0, 0];
  for (let i = row * size; i < (row + 1) * size; i++) {
    product += a[i] * b[i];
    normA += a[i] ** 2;
    normB += b[i] ** 2;
  }
  return product / (Math.max(Math.sqrt(normA), EPSILON) * Math.max(Math.sqrt(normB), EPSILON));
}
