/** Names, shapes and counts of whole MusicGens that a config.json describes, in Hugging Face's names. */
import { buildHfEncodec } from "../models/encodec/config.ts";
import { hfName } from "../models/encodec/weights.ts";
import { hfNames } from "../models/pretrained/hf_names.ts";
import { parseT5Config } from "../models/t5/config.ts";
import { T5Encoder } from "../models/t5/encoder.ts";
import { InitializerStream, type Parameter } from "../nn/index.ts";
import { type Checks, check, once } from "./check.ts";
import { treeMismatches } from "./compare.ts";
import type { GoldenFolder, Json } from "./folder.ts";
import { hfConfig, hfLanguageModel } from "./hf_model.ts";
import { recordedProvider } from "./lm_conditions.ts";
import { type NamedShape, shapeMismatches } from "./shapes.ts";

interface ShapesGolden {
  params: number;
  by_part: Record<string, number>;
  tensors: NamedShape[];
}

interface Part {
  tensors: NamedShape[];
  parameters: number;
}

/** `NAME_shapes.json` are those of `NAME/config.json`. */
export async function* verifyHfShapes(folder: GoldenFolder): Checks {
  for (const file of folder.files.filter((name) => name.endsWith("_shapes.json"))) {
    const name = file.slice(0, -"_shapes.json".length);
    const golden = folder.json<ShapesGolden>(file);
    const parts = once(() => partsOf(folder.json(`${name}/config.json`), folder.file(`${name}/config.json`)));
    yield await check(`${name} tensors`, 0, () =>
      shapeMismatches(
        Object.values(parts()).flatMap(({ tensors }) => tensors),
        golden.tensors,
      ),
    );
    yield await check(`${name} parameters`, 0, () => {
      const counts = Object.entries(parts()).map(([part, { parameters }]) => [part, parameters] as const);
      return treeMismatches(Object.fromEntries(counts), golden.by_part);
    });
    yield await check(`${name} all parameters`, 0, () => {
      const all = Object.values(parts()).reduce((sum, { parameters }) => sum + parameters, 0);
      return Math.abs(all - golden.params);
    });
  }
}

/** By the names of their parts. Nothing is allocated: a parameter gets its values when it is first used. */
function partsOf(config: Json, path: string): Record<string, Part> {
  const cfg = hfConfig(config, {}, path);
  const t5 = new T5Encoder(parseT5Config(config, path));
  const codec = buildHfEncodec(config.audio_encoder as Json, new InitializerStream(0));
  const { dim } = cfg.transformer_lm;
  const lm = hfLanguageModel(cfg, recordedProvider("description", t5.config.dModel, dim));
  const language = lm
    .namedParameters()
    .flatMap(([name, parameter]) => split(hfNames(name) ?? [name], parameter));
  const isDecoder = ([name]: NamedShape) => name.startsWith("decoder.");
  const text = t5.namedParameters().flatMap(([name, { shape }]): NamedShape[] => {
    const own: NamedShape = [`text_encoder.${name}`, shape];
    // the table has a second name there
    return name === "shared.weight" ? [own, ["text_encoder.encoder.embed_tokens.weight", shape]] : [own];
  });
  return {
    text_encoder: { tensors: text, parameters: t5.parameterCount() },
    audio_encoder: {
      tensors: codec
        .namedParameters()
        .map(([name, { shape }]): NamedShape => [`audio_encoder.${hfName(name, true)}`, shape]),
      parameters: codec.parameterCount(),
    },
    decoder: part(language.filter(isDecoder)),
    enc_to_dec_proj: part(language.filter((tensor) => !isDecoder(tensor))),
  };
}

/** A packed parameter under several names has equal parts of its rows under each. */
function split(names: readonly string[], { shape: [rows, ...rest] }: Parameter): NamedShape[] {
  return names.map((name) => [name, [rows / names.length, ...rest]]);
}

function part(tensors: NamedShape[]): Part {
  const size = ([, shape]: NamedShape) => shape.reduce((product, x) => product * x, 1);
  return { tensors, parameters: tensors.reduce((sum, tensor) => sum + size(tensor), 0) };
}
