/** Chooses which file a segment comes from. */
import { UserError } from "../errors.ts";
import { TorchGenerator } from "../random/mt19937.ts";
import type { AudioDatasetOptions } from "./audio_dataset.ts";
import type { AudioMeta } from "./manifest.ts";
import { permutation, rand53 } from "./random.ts";

export class FileSampler {
  private count: number;
  private shuffleSeed: number;
  private permute: boolean;
  /** Cumulative probabilities; undefined: all files alike. */
  private cumulative: Float64Array | undefined;
  private permutations = new Map<number, Uint32Array>();

  /** Throws UserError for options that contradict each other and for weights that add up to nothing. */
  constructor(meta: AudioMeta[], options: AudioDatasetOptions) {
    const { sampleOnDuration, sampleOnWeight, permutationOnFiles, shuffle } = options;
    this.count = meta.length;
    this.shuffleSeed = options.shuffleSeed;
    this.permute = permutationOnFiles;
    if (permutationOnFiles && (sampleOnDuration || sampleOnWeight))
      throw new UserError(
        "dataset.permutation_on_files needs sample_on_duration=false and sample_on_weight=false",
      );
    if (permutationOnFiles && !shuffle)
      throw new UserError("dataset.permutation_on_files needs shuffle=true");
    if (sampleOnDuration || sampleOnWeight)
      this.cumulative = cumulate(
        meta.map(
          (file) => (sampleOnWeight ? (file.weight ?? 1) : 1) * (sampleOnDuration ? file.duration : 1),
        ),
      );
  }

  /** `position`: how many items came before, over all epochs; with permutations it alone decides. */
  draw(random: TorchGenerator, position: number): number {
    if (!this.permute) return this.redraw(random);
    const order = this.permutation(Math.floor(position / this.count));
    return order[position % this.count];
  }

  /** A draw whatever came before. */
  redraw(random: TorchGenerator): number {
    const { cumulative } = this;
    if (!cumulative) return random.randint(this.count);
    const u = rand53(random) * cumulative[this.count - 1];
    let low = 0;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (cumulative[middle] > u) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Whether a file has any chance at all. */
  mayDraw(file: number): boolean {
    const { cumulative } = this;
    return !cumulative || cumulative[file] > (file > 0 ? cumulative[file - 1] : 0);
  }

  private permutation(number: number): Uint32Array {
    let order = this.permutations.get(number);
    if (!order) {
      order = permutation(new TorchGenerator(this.shuffleSeed + number), this.count);
      if (this.permutations.size >= 4)
        this.permutations.delete(this.permutations.keys().next().value as number);
      this.permutations.set(number, order);
    }
    return order;
  }
}

function cumulate(scores: number[]): Float64Array {
  let sum = 0;
  const cumulative = Float64Array.from(scores, (score) => {
    sum += score;
    return sum;
  });
  if (!(sum > 0))
    throw new UserError("no file can be sampled: the weights (or durations) of the data set are all 0");
  return cumulative;
}
