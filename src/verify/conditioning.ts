/** Collation and null conditions through a provider, against the entries of dropout.json. */
import {
  type ConditioningAttributes,
  collateWavs,
  type WavBatch,
  type WavCondition,
} from "../data/conditioning.ts";
import { Conditioner, crossBias, nullify, type PreparedCondition } from "../models/conditioners/base.ts";
import { dropConditions } from "../models/conditioners/dropout.ts";
import { LUTConditioner } from "../models/conditioners/lut.ts";
import { ConditioningProvider, nullConditions } from "../models/conditioners/provider.ts";
import { InitializerStream } from "../nn/index.ts";
import { type Tensor, tf } from "../runtime/index.ts";
import { type Measured, worstOf } from "./check.ts";
import { maxDifference, mismatches, treeMismatches } from "./compare.ts";
import type { Json } from "./folder.ts";

interface Values {
  shape: number[];
  values: unknown[];
}
interface WavGolden {
  wav: Values;
  length: { values: number[] };
  sample_rate: number[];
  path: (string | null)[];
  seek_time: (number | null)[];
}
type Outputs = Record<string, [embedding: Values, mask: Values]>;

/** Values in float32 through one projection of four numbers. */
const tolerance = 1e-6;

/** By entry: how far ours is from it. */
export function conditioningChecks(golden: Json): Record<string, { tolerance: number; measure(): Measured }> {
  const exact = (measure: () => Measured) => ({ tolerance: 0, measure });
  const samples = () => samplesOf(golden.input as { text: Json; wav: Record<string, WavGolden> }[]);
  const oneNull = () => {
    const [first, second] = samples();
    return [first, ...dropConditions([second], nullify, ["wav"])];
  };
  return {
    length_to_mask: exact(() => {
      const cases = golden.length_to_mask as Record<string, number[][]>;
      return worstOf(
        Object.entries(cases).map(([name, mask]) => [name, lengthMaskMismatches(mask)] as const),
      );
    }),
    // of any condition: one step of zeros, under mask 0
    nullify_condition: exact(() => {
      const [condition, mask] = golden.nullify_condition as [Values, Values];
      const [rows, , dim] = condition.shape;
      const provider = new ConditioningProvider({ description: table(dim, dim) });
      const texts = Array.from({ length: rows }, () => ({
        text: { description: null },
        wav: {},
        joint_embed: {},
      }));
      const { description } = provider.forward(provider.prepare(texts, { training: false }));
      return worstOf([
        ["condition", mismatches(description.embedding.dataSync(), flat(condition))],
        ["mask", mismatches(description.mask.dataSync(), flat(mask))],
      ]);
    }),
    provider_collated_wav_one_null: exact(() => {
      const expected = golden.provider_collated_wav_one_null as WavGolden;
      return collationMismatches(collateWavs(oneNull().map(({ wav }) => wav.self_wav)), expected);
    }),
    provider_tokenize_all_null: exact(() => {
      const expected = golden.provider_tokenize_all_null as {
        self_wav: WavGolden;
        description: number[][][];
      };
      const nulls = nullConditions(samples());
      const wavs = collationMismatches(collateWavs(nulls.map(({ wav }) => wav.self_wav)), expected.self_wav);
      const { input, mask } = table(40, 4).prepare(
        nulls.map(({ text }) => text.description),
        { training: false },
      );
      const [ids, bits] = expected.description.map((rows) => rows.flat());
      const tokens = mismatches(input.dataSync(), ids) + mismatches(mask.dataSync(), bits);
      return worstOf([
        ["self_wav", wavs.error],
        ["description", tokens],
      ]);
    }),
    provider_output_one_null: {
      tolerance,
      measure: () => outputErrors(golden, oneNull(), golden.provider_output_one_null as Outputs),
    },
    provider_output_all_null: {
      tolerance,
      measure: () =>
        outputErrors(golden, nullConditions(samples()), golden.provider_output_all_null as Outputs),
    },
  };
}

/** The golden's conditioner of waveforms: every second sample is a step, repeated over the dimensions. */
class EverySecondSample extends Conditioner<"wav"> {
  readonly kind = "wav";
  private readonly dim: number;

  constructor(dim: number, outputDim: number) {
    super(dim, outputDim, new InitializerStream(0));
    this.dim = dim;
  }

  override prepare({ wav, shape: [rows, , samples], lengths }: WavBatch): PreparedCondition {
    const steps = Math.ceil(samples / 2);
    const input = new Float32Array(rows * steps * this.dim);
    const mask = new Float32Array(rows * steps);
    for (let row = 0; row < rows; row++) {
      for (let step = 0; step < steps; step++) {
        const at = row * steps + step;
        input.fill(wav[row * samples + 2 * step], at * this.dim, (at + 1) * this.dim);
        mask[at] = step < Math.ceil(lengths[row] / 2) ? 1 : 0;
      }
    }
    return {
      input: tf.tensor3d(input, [rows, steps, this.dim]),
      mask: tf.tensor2d(mask, [rows, steps]),
      crossBias: crossBias(steps),
    };
  }

  override forward(prepared: PreparedCondition) {
    return this.project(prepared.input, prepared);
  }
}

function table(bins: number, dim: number, outputDim = dim): LUTConditioner {
  return new LUTConditioner({ nBins: bins, dim, outputDim, tokenizer: "noop" }, new InitializerStream(0));
}

function outputErrors(golden: Json, samples: ConditioningAttributes[], expected: Outputs): Measured {
  const parameters = golden.provider_params as Record<string, Values>;
  const [bins, dim] = parameters["conditioners.description.embed.weight"].shape;
  const [outputDim] = parameters["conditioners.description.output_proj.weight"].shape;
  const provider = new ConditioningProvider({
    self_wav: new EverySecondSample(dim, outputDim) as unknown as Conditioner,
    description: table(bins, dim, outputDim) as unknown as Conditioner,
  });
  for (const [name, parameter] of provider.namedParameters()) {
    parameter.load(Float32Array.from(flat(parameters[name])));
  }
  const outputs = provider.forward(provider.prepare(samples, { training: false }));
  return worstOf(
    Object.entries(expected).flatMap(([name, [embedding, mask]]) => [
      [name, maxDifference(values(outputs[name].embedding), flat(embedding))] as const,
      [`${name} mask`, mismatches(values(outputs[name].mask), flat(mask))] as const,
    ]),
  );
}

function samplesOf(input: { text: Json; wav: Record<string, WavGolden> }[]): ConditioningAttributes[] {
  return input.map(({ text, wav }) => ({
    text: text as Record<string, string | null>,
    wav: Object.fromEntries(Object.entries(wav).map(([name, golden]) => [name, wavOf(golden)])),
    joint_embed: {},
  }));
}

function wavOf({ wav, length, sample_rate, path, seek_time }: WavGolden): WavCondition {
  return {
    wav: Float32Array.from(flat(wav)),
    shape: wav.shape as [1, number, number],
    length: length.values[0],
    sampleRate: sample_rate[0],
    path: path[0],
    seekTime: seek_time[0],
  };
}

function collationMismatches(batch: WavBatch, expected: WavGolden): Measured {
  const ours = {
    shape: batch.shape,
    wav: [...batch.wav],
    length: batch.lengths,
    sample_rate: batch.sampleRates,
    path: batch.paths,
    seek_time: batch.seekTimes,
  };
  const { wav, length, ...rest } = expected;
  return treeMismatches(ours, { shape: wav.shape, wav: flat(wav), length: length.values, ...rest });
}

/** Lengths are the sums of the mask's rows. */
function lengthMaskMismatches(expected: number[][]): number {
  const lengths = expected.map((row) => row.reduce((sum, bit) => sum + bit, 0));
  const width = expected[0].length;
  const batch: WavBatch = {
    wav: new Float32Array(2 * width * lengths.length),
    shape: [lengths.length, 1, 2 * width],
    conditions: [],
    lengths: lengths.map((length) => 2 * length),
    sampleRates: [],
    paths: [],
    seekTimes: [],
  };
  const { mask } = new EverySecondSample(1, 1).prepare(batch);
  return mismatches(values(mask), expected.flat());
}

function values(tensor: Tensor): ArrayLike<number> {
  return tensor.dataSync();
}

function flat({ values: nested }: Values): number[] {
  return nested.flat(Number.POSITIVE_INFINITY) as number[];
}
