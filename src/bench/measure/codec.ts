/** EnCodec 32 kHz of true size with random weights, on noise. */
import { composeTrainConfig } from "../../config/index.ts";
import { buildEncodec, EncodecCompressionModel } from "../../models/encodec/index.ts";
import { InitializerStream } from "../../nn/index.ts";
import { autocast, scoped, type Tensor, tf } from "../../runtime/index.ts";
import { type Measurement, peakBytes, timed } from "../measurement.ts";
import type { Request } from "../request.ts";
import { CODEC_SECONDS } from "../sizes.ts";
import { autocastOf, noise, versions } from "./model.ts";

export function buildCodec(): EncodecCompressionModel {
  const config = composeTrainConfig(["solver=compression/encodec_musicgen_32khz", "rvq.kmeans_init=false"]);
  return new EncodecCompressionModel(
    buildEncodec(config.toObject() as Record<string, unknown>, new InitializerStream(0)),
  );
}

export async function measureCodec(request: Request): Promise<Measurement> {
  const codec = buildCodec();
  const samples = CODEC_SECONDS * codec.sampleRate;
  const wav = tf.tensor3d(noise(samples, 0), [1, 1, samples]) as Tensor;
  const lowered = <T>(f: () => T) => scoped(() => autocast(autocastOf(request.precision), f));
  const encode = await timed(() => lowered(() => codec.encode(wav).codes.dataSync()), request);
  const { codes } = codec.encode(wav);
  const decode = await timed(() => lowered(() => codec.decode(codes).dataSync()), request);
  return {
    series: { encode, decode },
    peakBytes: peakBytes(),
    facts: { parameters: codec.model.parameterCount(), codebooks: codes.shape[1]!, frames: codes.shape[2]! },
    versions: versions(),
  };
}
