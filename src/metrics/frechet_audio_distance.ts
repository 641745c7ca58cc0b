/** How far the embeddings of generated audio are, as a whole, from those of real audio (FAD, arXiv 1812.08466). */
import { normalizeAudio } from "../data/audio/normalize.ts";
import { UserError } from "../errors.ts";
import type { EmbeddingModel } from "./embedding_model.ts";
import { frechetDistance, GaussianStatistics } from "./frechet.ts";
import { type ClipPair, type GenerationMetric, mono, unpadded } from "./metric.ts";

export class FrechetAudioDistance implements GenerationMetric {
  private readonly model: EmbeddingModel;
  private statistics: { generated: GaussianStatistics; reference: GaussianStatistics } | null = null;

  constructor(model: EmbeddingModel) {
    this.model = model;
  }

  /** Clips are embedded at the model's rate with their peak 1 dB below full scale. */
  async update({ generated, reference, sampleRate, length }: ClipPair): Promise<void> {
    const embed = (samples: Float32Array[]) => {
      const wav = mono(unpadded(samples, length), sampleRate, this.model.sampleRate);
      return this.model.embed(normalizeAudio([wav], this.model.sampleRate)[0]);
    };
    const found = { generated: await embed(generated), reference: await embed(reference) };
    if (found.reference.length === 0) return;
    const dim = found.reference[0].length;
    this.statistics ??= { generated: new GaussianStatistics(dim), reference: new GaussianStatistics(dim) };
    for (const vector of found.generated) this.statistics.generated.add(vector);
    for (const vector of found.reference) this.statistics.reference.add(vector);
  }

  compute(): { fad: number } {
    if (this.statistics === null) throw new UserError("fad: there was no audio to compare");
    return { fad: frechetDistance(this.statistics.generated, this.statistics.reference) };
  }

  dispose(): void {
    this.model.dispose();
  }
}
