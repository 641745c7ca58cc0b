/** EnCodec of Hugging Face's layout against transformers: latents, codes, audio, each layer, names and shapes. */
import { EncodecCompressionModel } from "../models/encodec/compression.ts";
import { buildHfEncodec } from "../models/encodec/config.ts";
import { hfName, loadEncodec } from "../models/encodec/weights.ts";
import { InitializerStream } from "../nn/index.ts";
import { type Tensor, tf } from "../runtime/index.ts";
import { type Checks, check, failed, once } from "./check.ts";
import { type Codec, codecTolerance as tolerance, values, wrongCodes } from "./codec.ts";
import { maxDifference } from "./compare.ts";
import type { GoldenFolder, Json } from "./folder.ts";
import { shapeMismatches } from "./shapes.ts";
import { tensorOf } from "./tensors.ts";

export async function* verifyHfEncodec(folder: GoldenFolder): Checks {
  const config = folder.json("config.json");
  if (folder.has("true_shapes.json")) yield* verifyTrueShapes(folder);
  for (const file of folder.files.filter((name) => /^model.*\.safetensors$/.test(name))) {
    const weights = file.slice(0, -".safetensors".length);
    const codec = once(() => {
      const made = buildHfEncodec(config, new InitializerStream(0));
      loadEncodec(made, folder.tensors(weights));
      return made;
    });
    yield* verifyClips(folder, weights, codec);
    yield* verifyLayers(folder, weights, codec);
  }
}

/** The tensors of one clip share a suffix: `codes_odd` are those of `wav_odd`. */
async function* verifyClips(folder: GoldenFolder, weights: string, codec: () => Codec): Checks {
  const outputs = folder.tensors("outputs");
  const read = (name: string) => tensorOf(folder, "outputs", name);
  const model = once(() => new EncodecCompressionModel(codec()));
  const suffixes = outputs.names.flatMap((name) => /^codes(|_.+)$/.exec(name)?.[1] ?? []);
  for (const suffix of suffixes) {
    const wavName = [`wav${suffix}`, `wav${suffix.replace("_b", "_batch")}`].find((name) =>
      outputs.has(name),
    );
    const what = (name: string) => `${weights}: ${name}${suffix}`;
    if (wavName === undefined) {
      yield failed(what("codes"), 0, "its waveform is not in outputs.safetensors");
      continue;
    }
    const wav = () => read(wavName);
    const chunks = outputs.shape(`codes${suffix}`).length === 4 ? outputs.shape(`codes${suffix}`)[0] : 1;
    const codes = () => frames(read(`codes${suffix}`), framesOf(codec(), read(wavName).shape[2]!));
    const scaleName = ["scale", "scales", "audio_scales"].find((name) => outputs.has(name + suffix));
    // [chunks, B, 1] there, [B, chunks] here
    const scales = () => tf.transpose(read(scaleName! + suffix).reshape([chunks, -1]));
    const scale = () => (scaleName === undefined ? null : scales());
    if (outputs.has(`encoder_out${suffix}`)) {
      const latents = () => read(`encoder_out${suffix}`);
      yield await check(what("encoder_out"), tolerance, () =>
        maxDifference(
          values(() => codec().encodeLatent(wav())),
          latents().dataSync(),
        ),
      );
      yield await check(what("codes"), 0, () =>
        wrongCodes(model().encode(wav()).codes, codes(), latents(), codec()),
      );
    } else {
      yield await check(what("codes"), 0, () => {
        const ours = model().encode(wav()).codes;
        return wrongCodes(ours, codes(), tf.zeros([ours.shape[0], 1, ours.shape[2]!]), codec());
      });
    }
    const computed: Record<string, () => ArrayLike<number>> = {
      quantized: () => values(() => codec().decodeLatent(codes())),
      decoded: () => values(() => model().decode(codes(), scale())),
      forward: () => values(() => roundTrip(model(), wav())),
    };
    if (scaleName !== undefined) {
      computed[scaleName] = () => values(() => tf.transpose(model().encode(wav()).scale!));
    }
    for (const [name, compute] of Object.entries(computed)) {
      if (!outputs.has(name + suffix)) continue;
      yield await check(what(name), tolerance, () =>
        maxDifference(compute(), folder.values("outputs", name + suffix)),
      );
    }
  }
}

/** What each layer gives on a short clip; the decoder gets the encoder's latents as they are. */
async function* verifyLayers(folder: GoldenFolder, weights: string, codec: () => Codec): Checks {
  const outputs = folder.tensors("outputs");
  if (!outputs.has("wav_short")) return;
  const channelsLast = (x: Tensor) => tf.transpose(x, [0, 2, 1]);
  const traces: Record<"enc" | "dec", () => Tensor[]> = {
    enc: once(() => trace(codec().encoder.model, channelsLast(tensorOf(folder, "outputs", "wav_short")))),
    dec: once(() => trace(codec().decoder.model, traces.enc().at(-1)!)),
  };
  const layers = outputs.names.flatMap((name) => {
    const [, part, index] = /^(enc|dec)_layer(\d+)$/.exec(name) ?? [];
    return part === undefined ? [] : [{ name, part: part as "enc" | "dec", index: Number(index) }];
  });
  layers.sort((a, b) => b.part.localeCompare(a.part) || a.index - b.index);
  for (const { name, part, index } of layers) {
    yield await check(`${weights}: ${name}`, tolerance, () => {
      const expected = Float32Array.from(folder.values("outputs", name));
      // inside of the model values may be large: there the tolerance is relative to the largest
      const largest = expected.reduce((top, x) => Math.max(top, Math.abs(x)), 1);
      return maxDifference(channelsLast(traces[part]()[index]).dataSync(), expected) / largest;
    });
  }
}

function trace(layers: readonly { forward(x: Tensor): Tensor }[], input: Tensor): Tensor[] {
  let x = input;
  return layers.map((layer) => {
    x = layer.forward(x);
    return x;
  });
}

/** Names and shapes of the true model, as its config describes it. */
async function* verifyTrueShapes(folder: GoldenFolder): Checks {
  const golden = folder.json("true_shapes.json");
  const model = once(() => {
    const config = folder.json("true_config/config.json");
    return buildHfEncodec(config, new InitializerStream(0)).namedParameters();
  });
  for (const [key, parametrized] of [
    ["tensors", true],
    ["legacy_tensors", false],
  ] as const) {
    if (!golden[key]) continue;
    yield await check(`true shapes: ${key}`, 0, () => {
      const ours = model().map(([name, { shape }]) => [hfName(name, parametrized), shape] as const);
      return shapeMismatches(ours, golden[key] as [string, number[]][]);
    });
  }
  yield await check("true shapes: parameters", 0, () => parameterMismatch(model(), golden));
}

function parameterMismatch(
  parameters: [string, { trainable: boolean; size: number }][],
  golden: Json,
): number {
  const count = parameters.reduce((sum, [, { trainable, size }]) => sum + (trainable ? size : 0), 0);
  return Math.abs(count - (golden.params as number));
}

/** Codes [chunks, B, K, T] as transformers has them -> [B, K, frames]; the last chunk is filled up there. */
function frames(codes: Tensor, count: number): Tensor {
  if (codes.rank !== 4) return codes;
  const [chunks, batch, codebooks, length] = codes.shape as [number, number, number, number];
  const joined = tf.transpose(codes, [1, 2, 0, 3]).reshape([batch, codebooks, chunks * length]);
  return tf.slice(joined, [0, 0, 0], [batch, codebooks, Math.min(count, chunks * length)]) as Tensor;
}

/** Frames of `samples` samples, those of a model that codes in chunks one after the other. */
function framesOf({ hopLength, options }: Codec, samples: number): number {
  if (options.chunk === null) return Math.ceil(samples / hopLength);
  const { length, stride } = options.chunk;
  let count = 0;
  for (let start = 0; start < samples; start += stride) {
    count += Math.ceil(Math.min(length, samples - start) / hopLength);
  }
  return count;
}

/** What is left of a waveform after coding, of the same length. */
function roundTrip(model: EncodecCompressionModel, wav: Tensor): Tensor {
  const { codes, scale } = model.encode(wav);
  return tf.slice(model.decode(codes, scale), [0, 0, 0], wav.shape);
}
