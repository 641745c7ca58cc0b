/** AudioCraft's EnCodec: coding in several settings, and its training (quantizer, losses, discriminators, balancer). */
import { EncodecCompressionModel } from "../models/encodec/compression.ts";
import { buildEncodec } from "../models/encodec/config.ts";
import { InitializerStream, type TensorSource } from "../nn/index.ts";
import { type Checks, check, failed, once } from "./check.ts";
import { codecOf, codecTolerance as tolerance, values, wrongCodes } from "./codec.ts";
import { verifyCodecTraining } from "./codec_training.ts";
import { maxDifference } from "./compare.ts";
import type { GoldenFolder, Json } from "./folder.ts";
import { shapeMismatches } from "./shapes.ts";
import { readTensor, tensorOf } from "./tensors.ts";

export async function* verifyAudiocraftEncodec(folder: GoldenFolder): Checks {
  const config = folder.meta.config as Json;
  if (folder.has("true_shapes.json")) yield await check("true shapes", 0, () => trueShapes(folder, config));
  yield* verifyCoding(folder, config);
  if (folder.has("variants.safetensors")) yield* verifyVariants(folder, config);
  yield* verifyCodecTraining(folder, config);
}

/** `eval.*` of outputs.safetensors, with the weights from after the training steps. */
async function* verifyCoding(folder: GoldenFolder, config: Json): Checks {
  const read = (name: string) => tensorOf(folder, "outputs", name);
  const codec = once(() => codecOf(config, folder.tensors(lastState(folder))));
  const model = once(() => new EncodecCompressionModel(codec()));
  for (const name of folder.namesInOrder("outputs").filter((tensor) => tensor.startsWith("eval."))) {
    const [, what, suffix, count] = /^eval\.(codes|decode|latent|forward)(_nq(\d+))?$/.exec(name) ?? [];
    const expected = () => folder.values("outputs", name);
    if (what === "latent") {
      yield await check(name, tolerance, () =>
        maxDifference(
          values(() => codec().decodeLatent(read("eval.codes"))),
          expected(),
        ),
      );
    } else if (what === "codes") {
      yield await check(name, 0, () => {
        model().setNumCodebooks(Number(count ?? codec().totalCodebooks));
        const { codes } = model().encode(read("wav"));
        return wrongCodes(codes, read(name), codec().encodeLatent(read("wav")), codec());
      });
    } else if (what === "decode") {
      yield await check(name, tolerance, () =>
        maxDifference(
          values(() => model().decode(read(`eval.codes${suffix ?? ""}`))),
          expected(),
        ),
      );
    } else if (what === "forward") {
      yield await check(name, tolerance, () =>
        maxDifference(
          values(() => codec().forward(read("wav"))),
          expected(),
        ),
      );
    } else yield failed(name, tolerance, "no check is made for this tensor");
  }
}

/** The last state that training left: `state_after_stepN`, or else the initial weights. */
function lastState(folder: GoldenFolder): string {
  const steps = folder.files.flatMap((file) => /^(state_after_step\d+)\.safetensors$/.exec(file)?.[1] ?? []);
  return steps.sort().at(-1) ?? "weights_init";
}

/** Models of other settings, each with weights `NAME.w.*` and outputs `NAME.*`; the settings are in meta.json. */
async function* verifyVariants(folder: GoldenFolder, config: Json): Checks {
  const file = folder.tensors("variants");
  const read = (name: string) => readTensor(file, name);
  for (const [name, overrides] of Object.entries(folder.meta.variants as Record<string, Json>)) {
    const codec = once(() =>
      codecOf(variantConfig(file, name, config, overrides), stripped(file, `${name}.w.`)),
    );
    const model = once(() => new EncodecCompressionModel(codec()));
    const scale = () => (file.has(`${name}.scale`) ? read(`${name}.scale`) : null);
    const compare = (what: string, compute: () => ReturnType<typeof read>) =>
      check(`${name}.${what}`, tolerance, () =>
        maxDifference(values(compute), folder.values("variants", `${name}.${what}`)),
      );
    yield await compare("enc", () => codec().encodeLatent(read("wav")));
    yield await check(`${name}.codes`, 0, () => {
      const { codes } = model().encode(read("wav"));
      return wrongCodes(codes, read(`${name}.codes`), read(`${name}.enc`), codec());
    });
    if (file.has(`${name}.scale`)) yield await compare("scale", () => codec().encode(read("wav")).scale!);
    yield await compare("decode", () => model().decode(read(`${name}.codes`), scale()));
    yield await compare("out", () => codec().forward(read("wav")));
  }
}

/**
 * The variants are smaller than the folder's own model: sizes are those of their weights. `encodec.causal` is
 * `seanet.causal`, too.
 */
function variantConfig(file: TensorSource, name: string, config: Json, overrides: Json): Json {
  const sections = structuredClone(config) as Record<string, Json>;
  for (const [key, text] of Object.entries(overrides)) {
    const [section, option] = key.split(".");
    sections[section][option] = text === "true" ? true : text === "false" ? false : text;
  }
  sections.seanet.causal = sections.encodec.causal;
  const codebooks = file.names.filter((tensor) =>
    new RegExp(`^${name}\\.w\\.quantizer\\.vq\\.layers\\.\\d+\\._codebook\\.embed$`).test(tensor),
  );
  const [bins, dimension] = file.shape(codebooks[0]);
  sections.rvq = { ...sections.rvq, n_q: codebooks.length, bins };
  const bias = `${name}.w.encoder.model.0.conv.conv.bias`;
  sections.seanet = { ...sections.seanet, dimension, n_filters: file.shape(bias)[0] };
  return sections;
}

/** The part of `source` whose names begin with `prefix`, without it. */
function stripped(source: TensorSource, prefix: string): TensorSource {
  return {
    path: source.path,
    names: source.names.flatMap((name) => (name.startsWith(prefix) ? name.slice(prefix.length) : [])),
    shape: (name) => source.shape(prefix + name),
    readFloat32: (name) => source.readFloat32(prefix + name),
  };
}

/** Names and shapes of the model at its true size, of which the folder's own is a small copy. */
function trueShapes(folder: GoldenFolder, config: Json) {
  const golden = folder.json("true_shapes.json").tensors as [string, number[]][];
  const shapes = new Map(golden.map(([name, shape]) => [name, shape]));
  const [bins, dimension] = shapes.get("quantizer.vq.layers.0._codebook.embed")!;
  const sections = structuredClone(config) as Record<string, Json>;
  sections.seanet = {
    ...sections.seanet,
    dimension,
    n_filters: shapes.get("encoder.model.0.conv.conv.bias")![0],
  };
  sections.rvq = { ...sections.rvq, bins };
  const model = buildEncodec(sections, new InitializerStream(0));
  return shapeMismatches(
    model.namedParameters().map(([name, { shape }]) => [name, shape] as const),
    golden,
  );
}
