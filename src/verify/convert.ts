/** From AudioCraft's names and shapes to Hugging Face's: the map, the converted weights, and what they compute. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { openSafetensors } from "../checkpoint/safetensors.ts";
import { crossBias } from "../models/conditioners/base.ts";
import type { MusicGenLM } from "../models/lm/lm.ts";
import { hfNames } from "../models/pretrained/hf_names.ts";
import { loadHfWeights } from "../models/pretrained/index.ts";
import { jit, type Tensor, tf } from "../runtime/index.ts";
import { type Checks, check, once, worstOf } from "./check.ts";
import { maxDifference, mismatches, treeMismatches } from "./compare.ts";
import { GoldenFolder } from "./folder.ts";
import { hfLM } from "./hf_lm.ts";
import { recordedProvider } from "./lm_conditions.ts";
import { lmConfig } from "./lm_config.ts";
import { type NamedShape, shapeMismatches } from "./shapes.ts";
import { tensorOf } from "./tensors.ts";

const projection = "condition_provider.conditioners.description.output_proj";

export async function* verifyConversion(folder: GoldenFolder): Checks {
  const map = folder.json<Record<string, string | string[]>>("rename_map.json");
  yield await check("names", 0, () => {
    const ours = Object.keys(map).map((name) => {
      // the map is of the decoder alone, beside which the projection stands
      const names = name.startsWith(projection) ? hfNames(name) : hfNames(name, "");
      return [name, names?.length === 1 ? names[0] : names] as const;
    });
    return treeMismatches(Object.fromEntries(ours), map);
  });
  const converted = folder.files.flatMap(
    (file) => /^hf_decoder_from_(.+)\.safetensors$/.exec(file)?.[1] ?? [],
  );
  for (const original of converted) yield* verifyDecoder(folder, original);
  if (folder.has("audiocraft_small_lm_shapes.json")) yield* verifyTrueShapes(folder);
}

/** `hf_decoder_from_NAME` is made of the weights of the folder NAME, which should lie beside this one. */
async function* verifyDecoder(folder: GoldenFolder, original: string): Checks {
  const reader = folder.tensors(`hf_decoder_from_${original}`);
  const source = join(dirname(folder.path), original);
  const lm = once(() => {
    const shapes = reader.names.map((name): NamedShape => [name, reader.shape(name)]);
    const heads = existsSync(source) ? lmConfig(new GoldenFolder(source)).num_heads : 4;
    const made = hfLM(shapes, heads);
    loadHfWeights(made, reader);
    return made;
  });
  if (existsSync(join(source, "weights.safetensors"))) {
    yield await check(`weights of ${original}`, 0, () => {
      const weights = openSafetensors(join(source, "weights.safetensors"));
      try {
        const parameters = lm().namedParameters();
        return worstOf(
          parameters.map(([name, p]) => [name, mismatches(p.read(), weights.readFloat32(name))] as const),
        );
      } finally {
        weights.close();
      }
    });
  }
  if (folder.has("hf_logits.safetensors")) {
    yield await check("logits", 2e-5, () =>
      maxDifference(logits(folder, lm()), folder.values("hf_logits", "logits")),
    );
  }
}

/** Cross-attention to the given states, none of them hidden. */
function logits(folder: GoldenFolder, lm: MusicGenLM): ArrayLike<number> {
  const read = (name: string) => tensorOf(folder, "hf_logits", name);
  const embedding = read("encoder_hidden_states");
  const [rows, length] = embedding.shape;
  const mask = tf.ones([rows, length!]) as Tensor;
  const forward = jit((codes: Tensor, states: Tensor) =>
    lm.forward(codes, { description: { embedding: states, mask, crossBias: crossBias(length!) } }),
  );
  return forward(read("sequence_codes"), embedding).dataSync();
}

async function* verifyTrueShapes(folder: GoldenFolder): Checks {
  const golden = folder.json<{ params: number; tensors: NamedShape[] }>("audiocraft_small_lm_shapes.json");
  const lm = once(() => {
    const [outputDim, dim] = new Map(golden.tensors.map(([name, shape]) => [name, shape])).get(
      `${projection}.weight`,
    )!;
    return hfLM(golden.tensors, 16, recordedProvider("description", dim, outputDim));
  });
  yield await check("true shapes", 0, () =>
    shapeMismatches(
      lm()
        .namedParameters()
        .map(([name, { shape }]): NamedShape => [name, shape]),
      golden.tensors,
    ),
  );
  yield await check("true parameters", 0, () => Math.abs(lm().parameterCount() - golden.params));
}
