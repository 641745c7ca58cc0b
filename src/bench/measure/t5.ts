/** The text conditioner's frozen T5-base, with random weights, on texts that are tokens already. */
import { T5Conditioner } from "../../models/conditioners/t5.ts";
import { parseT5Config } from "../../models/t5/config.ts";
import { T5Encoder } from "../../models/t5/encoder.ts";
import { InitializerStream } from "../../nn/index.ts";
import { scoped } from "../../runtime/index.ts";
import { type Measurement, peakBytes, timed } from "../measurement.ts";
import type { Request } from "../request.ts";
import { T5_BATCH } from "../sizes.ts";
import { autocastOf, noise, versions } from "./model.ts";

const T5_BASE = { vocab_size: 32128, d_model: 768, d_kv: 64, d_ff: 3072, num_layers: 12, num_heads: 12 };

export async function measureT5(request: Request): Promise<Measurement> {
  const encoder = new T5Encoder(parseT5Config(T5_BASE, "T5-base"));
  const init = new InitializerStream(0);
  for (const [, weight] of encoder.namedParameters())
    scoped(() => weight.assign(init.uniform(0.05)(weight.shape)));
  const { batch, tokens } = T5_BATCH;
  const ids = Int32Array.from(noise(batch * tokens, 0), (u) => 3 + Math.floor(15000 * (u + 1)));
  const encodeBatch = () => ({ ids, mask: new Float32Array(ids.length).fill(1), length: tokens });
  const autocastType = autocastOf(request.precision);
  const conditioner = new T5Conditioner(
    { encoder, tokenizer: { encodeBatch }, outputDim: 16, autocastType },
    init,
  );
  const texts = Array.from({ length: batch }, () => "text");
  const work = () => scoped(() => conditioner.prepare(texts, { training: false }).input.dataSync());
  return {
    series: { encode: await timed(work, request) },
    peakBytes: peakBytes(),
    facts: { parameters: encoder.parameterCount() },
    versions: versions(),
  };
}
