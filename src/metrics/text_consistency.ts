/** Whether generated audio is what its description says: the mean cosine of their CLAP embeddings (arXiv 2306.05284). */
import { UserError } from "../errors.ts";
import type { Clap } from "../models/clap/model.ts";
import { type ClipPair, covering, type GenerationMetric, mono } from "./metric.ts";

export class TextConsistency implements GenerationMetric {
  private readonly clap: Clap;
  private sum = 0;
  private count = 0;

  constructor(clap: Clap) {
    this.clap = clap;
  }

  /**
   * Of a clip that is longer than CLAP hears at once, the cosine is the mean over the windows that cover it (laion_clap hears
   * one of them, at random). The clip is heard to its end: generated audio has no padding. One without description does not count.
   */
  async update({ generated, sampleRate, description }: ClipPair): Promise<void> {
    if (description === null) return;
    const { clap } = this;
    const { maxSamples, sampleRate: rate } = clap.logMel.options;
    const text = clap.embedText([description]);
    const [meaning] = [(await text.data()) as Float32Array, text.dispose()];
    const heard = covering(mono(generated, sampleRate, rate), maxSamples);
    for (const window of heard) {
      const audio = clap.embedAudio([window]);
      const embedding = (await audio.data()) as Float32Array;
      audio.dispose();
      this.sum += embedding.reduce((sum, value, i) => sum + value * meaning[i], 0) / heard.length;
    }
    this.count++;
  }

  compute(): { text_consistency: number } {
    if (this.count === 0) {
      throw new UserError("text_consistency: no clip of the evaluate split has a description");
    }
    return { text_consistency: this.sum / this.count };
  }

  dispose(): void {
    this.clap.dispose();
  }
}
