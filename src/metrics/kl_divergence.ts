/** Whether a classifier hears the same in generated audio as in its reference: the divergence of its labels' probabilities. */
import { UserError } from "../errors.ts";
import { type ClipPair, type GenerationMetric, mono, pieces, unpadded } from "./metric.ts";

/** Tells what audio is of. */
export interface AudioClassifier {
  /** Samples per second of the audio that it takes. */
  readonly sampleRate: number;
  /** Samples that it takes at once, at most. */
  readonly maxSamples: number;
  /** Mono samples, at most `maxSamples` -> the probabilities of its classes */
  classify(wav: Float32Array): Promise<Float32Array>;
  dispose(): void;
}

/** Seconds: what is left of a clip and no longer than this is not classified. */
const SHORTEST = 0.15;

export class KLDivergence implements GenerationMetric {
  private readonly classifier: AudioClassifier;
  private readonly sums = { pq: 0, qp: 0 };
  private count = 0;

  constructor(classifier: AudioClassifier) {
    this.classifier = classifier;
  }

  /** Each piece of the clips, as long as the classifier takes them, counts once. */
  async update({ generated, reference, sampleRate, length }: ClipPair): Promise<void> {
    const predicted = await this.distributions(unpadded(generated, length), sampleRate);
    const target = await this.distributions(unpadded(reference, length), sampleRate);
    for (const [i, probabilities] of predicted.entries()) {
      this.sums.pq += klDivergence(probabilities, target[i]);
      this.sums.qp += klDivergence(target[i], probabilities);
      this.count++;
    }
  }

  compute(): { kld: number; kld_pq: number; kld_qp: number; kld_both: number } {
    if (this.count === 0) throw new UserError(`kld: no clip is longer than ${SHORTEST} s`);
    const { pq, qp } = { pq: this.sums.pq / this.count, qp: this.sums.qp / this.count };
    return { kld: pq, kld_pq: pq, kld_qp: qp, kld_both: pq + qp };
  }

  dispose(): void {
    this.classifier.dispose();
  }

  private async distributions(samples: Float32Array[], rate: number): Promise<Float32Array[]> {
    const { classifier } = this;
    const wav = mono(samples, rate, classifier.sampleRate);
    const found: Float32Array[] = [];
    for (const piece of pieces(wav, classifier.maxSamples)) {
      if (piece.length > SHORTEST * classifier.sampleRate) found.push(await classifier.classify(piece));
    }
    return found;
  }
}

/** sum t (log t - log(p + 1e-6)) over classes, of predicted and target probabilities; 0 log 0 is 0. */
export function klDivergence(predicted: ArrayLike<number>, target: ArrayLike<number>): number {
  let sum = 0;
  for (let c = 0; c < target.length; c++) {
    if (target[c] > 0) sum += target[c] * (Math.log(target[c]) - Math.log(predicted[c] + 1e-6));
  }
  return sum;
}

/** exp(x) / sum exp(x) */
export function softmax(logits: ArrayLike<number>): Float32Array {
  const values = Array.from(logits);
  const top = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const powers = values.map((value) => Math.exp(value - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return Float32Array.from(powers, (power) => power / sum);
}
