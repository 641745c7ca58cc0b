/** The steps of a generation, many in one call: embedding, all layers with the cache, guidance and sampling in a loop of TensorFlow's. */

import { gatherRows } from "../../nn/index.ts";
import { type Jitted, jit, scoped, type Tensor, tf, whileLoop } from "../../runtime/index.ts";
import { KeyValueCache } from "./cached_attention.ts";
import { columns } from "./frames.ts";
import { type Guidance, guided, rowCopies } from "./guidance.ts";
import type { MusicGenLM } from "./lm.ts";
import type { Begun, StreamConditions } from "./prefill.ts";
import { type SamplingOptions, sampleToken } from "./sampling.ts";

/** A cell of the sequence that is not known yet. */
export const UNKNOWN = -1;

/** Lengths are rounded up to a multiple of this, so that few of them are traced. */
const CAPACITY_STEP = 512;

/** What stays the same during a generation. */
export interface DecodingRequest {
  /** codes int32 [B, K, length], unknown ones UNKNOWN, and mask [K, length] of the cells that the pattern fills. */
  sequence: { codes: Int32Array; mask: Uint8Array; length: number };
  batch: number;
  /** Rows of one stream: the batch, once per part of the guidance. */
  rows: number;
  guidance: Guidance;
  sampling: SamplingOptions;
  cfgCoef: number;
  cfgCoefBeta: number;
  /** One per row of the batch. */
  seeds: number[];
  /** Steps of the sequence that the model is trained on, when conditions have to be laid along them. */
  total: number | null;
}

/** The same for one call of the traced function; what is not a tensor is traced anew when it changes. */
interface Run {
  /** int32 scalars: the first step to fill, and the one not to fill any more. */
  from: Tensor;
  end: Tensor;
  /** int32 [B, K, capacity]; [K, capacity], 1 where the pattern has a code; [B, 1] */
  sequence: Tensor;
  mask: Tensor;
  seeds: Tensor;
  cfgCoef: Tensor;
  cfgCoefBeta: Tensor;
  streams: StreamConditions[];
  /** int32 scalars: how many steps stand before the sequence in each stream. */
  prefixes: Tensor[];
  caches: KeyValueCache[];
  guidance: Guidance;
  sampling: SamplingOptions;
  total: number | null;
}

export interface Decoding {
  /** Fills the steps [from, end); returns the sequence's codes int32 [B, K, length] as they are then. */
  run(from: number, end: number): Int32Array;
  /** Frees all that it holds. */
  end(): void;
}

export class DecodingLoop {
  private readonly lm: MusicGenLM;
  private readonly steps: Jitted<[Run], Tensor>;
  /** Caches that nobody uses: they hold no memory, but functions are traced with them. */
  private idle: KeyValueCache[] = [];

  constructor(lm: MusicGenLM) {
    this.lm = lm;
    this.steps = jit((run) => this.loop(run), { name: "decode" });
  }

  begin({ streams, past, prefixLengths }: Begun, request: DecodingRequest): Decoding {
    const { batch, rows, seeds, cfgCoef, cfgCoefBeta, guidance, sampling, total } = request;
    const { codes, mask, length } = request.sequence;
    const { n_q: nQ } = this.lm.config;
    const capacity = roundUp(length);
    const caches = prefixLengths.map((prefix, i) => {
      const cache = this.takeCache(rows, roundUp(prefix + length));
      cache.fill(past[i]);
      return cache;
    });
    const keep = (tensor: Tensor): Tensor => tf.keep(tensor as never);
    const fixed = {
      mask: keep(tf.tensor2d(widened(Int32Array.from(mask), nQ, capacity, 0), [nQ, capacity], "int32")),
      seeds: keep(tf.tensor2d(seeds, [batch, 1], "int32")),
      cfgCoef: keep(tf.scalar(cfgCoef)),
      cfgCoefBeta: keep(tf.scalar(cfgCoefBeta)),
      prefixes: prefixLengths.map((prefix) => keep(tf.scalar(prefix, "int32"))),
    };
    let sequence = keep(
      tf.tensor3d(widened(codes, batch * nQ, capacity, UNKNOWN), [batch, nQ, capacity], "int32"),
    );
    return {
      run: (from, end) =>
        scoped(() => {
          const next = this.steps({
            ...fixed,
            from: tf.scalar(from, "int32"),
            end: tf.scalar(end, "int32"),
            sequence,
            streams,
            caches,
            guidance,
            sampling,
            total,
          });
          sequence.dispose();
          sequence = keep(next);
          return columns(next.dataSync() as Int32Array, batch * nQ, capacity, 0, length);
        }),
      end: () => {
        tf.dispose([sequence, fixed] as never);
        for (const cache of caches) {
          cache.release();
          this.idle.push(cache);
        }
      },
    };
  }

  dispose(): void {
    this.steps.dispose();
    this.idle = [];
  }

  /** Fills the steps from `from` to `end`; returns the sequence. */
  private loop({ from, end, sequence, ...run }: Run): Tensor {
    const one = tf.scalar(1, "int32");
    const [, last] = whileLoop(
      [from, sequence],
      ([step]) => tf.less(step, end),
      ([step, sequence]) => [tf.add(step, one), this.fillStep(step, sequence, run)] as [Tensor, Tensor],
      { updates: run.caches.flatMap(({ assigned }) => assigned) },
    );
    return last;
  }

  private fillStep(step: Tensor, sequence: Tensor, run: Omit<Run, "from" | "end" | "sequence">): Tensor {
    const token = this.draw(step, sequence, run); // [B, K]
    const special = tf.scalar(this.lm.specialToken, "int32");
    const made = tf.where(tf.equal(columnOf(run.mask, step), 1), token, special);
    const known = columnOf(sequence, step);
    const filled = tf.where(tf.equal(known, UNKNOWN), made, known);
    const here = tf.equal(tf.range(0, sequence.shape[2]!, 1, "int32"), step);
    return tf.where(here, filled.expandDims(-1), sequence);
  }

  /** The tokens of a step int32 [B, K], by those of the step before it. */
  private draw(
    step: Tensor,
    sequence: Tensor,
    {
      streams,
      caches,
      prefixes,
      guidance,
      sampling,
      seeds,
      total,
      cfgCoef,
      cfgCoefBeta,
    }: Omit<Run, "from" | "end" | "sequence">,
  ): Tensor {
    const { transformer, fuser } = this.lm;
    const before = tf.sub(step, tf.scalar(1, "int32")) as Tensor;
    const tokens = columnOf(sequence, before).expandDims(-1) as Tensor;
    const copies = rowCopies[guidance];
    const input = this.lm.embed(copies === 1 ? tokens : tf.concat(new Array<Tensor>(copies).fill(tokens), 0));
    const logits = streams.map(({ added, ...cross }, i) => {
      const options = { first: false, window: total === null ? undefined : { offset: before, total } };
      const fused = total === null ? input : fuser.fuse(input, added, options).input;
      const position = tf.add(before, prefixes[i]) as Tensor;
      return this.lm.heads(transformer.step(fused, position, { cache: caches[i], ...cross }));
    });
    const parts = copies === 1 ? logits : tf.split(logits[0], copies, 0);
    const joint = tf.squeeze(guided(parts, cfgCoef, cfgCoefBeta), [2]); // [B, K, 1, card] -> [B, K, card]
    const draws = tf.concat([seeds, tf.fill(seeds.shape, 0, "int32").add(step)], 1); // [B, 2]
    return sampleToken(joint, sampling, draws as Tensor);
  }

  private takeCache(batch: number, capacity: number): KeyValueCache {
    const { num_layers: layers, num_heads: heads, kv_repeat: kvRepeat, dim } = this.lm.config;
    const shape = { layers, batch, kvHeads: heads / kvRepeat, capacity, headDim: dim / heads };
    const found = this.idle.findIndex(
      (cache) => cache.shape.batch === batch && cache.shape.capacity === capacity,
    );
    return found < 0 ? new KeyValueCache(shape) : this.idle.splice(found, 1)[0];
  }
}

function roundUp(length: number): number {
  return Math.ceil(length / CAPACITY_STEP) * CAPACITY_STEP;
}

/** x int32 [..., N], index int32 scalar -> [...] */
function columnOf(x: Tensor, index: Tensor): Tensor {
  const axes = x.shape.map((_, axis) => axis);
  const first = tf.transpose(x, [axes.length - 1, ...axes.slice(0, -1)]);
  return gatherRows(first, index);
}

/** Rows of values, made longer with `filler`. */
function widened(values: Int32Array, rows: number, length: number, filler: number): Int32Array {
  const given = values.length / rows;
  const out = new Int32Array(rows * length).fill(filler);
  for (let row = 0; row < rows; row++) out.set(values.subarray(row * given, (row + 1) * given), row * length);
  return out;
}
