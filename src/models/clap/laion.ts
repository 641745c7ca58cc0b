/** The tensors of laion_clap's checkpoints under the names of transformers' CLAP. */
import { UserError } from "../../errors.ts";
import type { TensorSource } from "../../nn/index.ts";

/** Part of a name there -> of a name here, in this order. */
const RENAMED: readonly [RegExp, string][] = [
  [/^text_branch\./, "text_model."],
  [/^audio_branch\./, "audio_model.audio_encoder."],
  [/^(text|audio)_projection\.0\./, "$1_projection.linear1."],
  [/^(text|audio)_projection\.2\./, "$1_projection.linear2."],
  [/^(audio_model\.audio_encoder\.)bn0\./, "$1batch_norm."],
  [/(\.blocks\.\d+\.)norm1\./, "$1layernorm_before."],
  [/(\.blocks\.\d+\.)norm2\./, "$1layernorm_after."],
  [/(\.blocks\.\d+\.)attn\.relative/, "$1attention.self.relative"],
  [/(\.blocks\.\d+\.)attn\.proj\./, "$1attention.output.dense."],
  [/(\.blocks\.\d+\.)mlp\.fc1\./, "$1intermediate.dense."],
  [/(\.blocks\.\d+\.)mlp\.fc2\./, "$1output.dense."],
];

/** Queries, keys and values are there in one matrix. */
const PACKED = /(\.blocks\.\d+\.)attn\.qkv\.(weight|bias)$/;
const PARTS = ["query", "key", "value"];

/**
 * A view of `source` with transformers' names. The names there may begin with those of the objects that hold them
 * ("state_dict.", "module.").
 * @throws UserError when these are not the weights of a CLAP
 */
export function laionNames(source: TensorSource): TensorSource {
  const landmark = "audio_branch.patch_embed.proj.weight";
  const found = source.names.find((name) => name.endsWith(landmark));
  if (found === undefined)
    throw new UserError(`${source.path}: not a checkpoint of laion_clap: no ${landmark}`);
  const prefix = found.slice(0, found.length - landmark.length);
  const parts = new Map<string, { from: string; part: number | null }>();
  for (const from of source.names) {
    if (!from.startsWith(prefix)) continue;
    const name = RENAMED.reduce(
      (text, [there, here]) => text.replace(there, here),
      from.slice(prefix.length),
    );
    if (PACKED.test(name)) {
      for (const [part, own] of PARTS.entries()) {
        parts.set(name.replace(PACKED, `$1attention.self.${own}.$2`), { from, part });
      }
    } else {
      parts.set(name, { from, part: null });
    }
  }
  return {
    path: source.path,
    names: [...parts.keys()],
    shape(name) {
      const { from, part } = parts.get(name)!;
      const [rows, ...rest] = source.shape(from);
      return [part === null ? rows : rows / PARTS.length, ...rest];
    },
    readFloat32(name) {
      const { from, part } = parts.get(name)!;
      const values = source.readFloat32(from);
      if (part === null) return values;
      const size = values.length / PARTS.length;
      return values.subarray(part * size, (part + 1) * size);
    },
  };
}
