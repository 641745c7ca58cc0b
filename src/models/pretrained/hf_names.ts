/**
 * Names of the language model's tensors in Hugging Face's MusicgenForConditionalGeneration (and its Melody twin), for ours,
 * which are AudioCraft's. One of ours may be several of theirs: the packed projections of attention.
 */

/** What stands before the decoder's names in a whole model; a decoder that was saved alone has nothing there. */
export const DECODER_PREFIX = "decoder.";

/** The tensors of the other parts of the file, which have loaders of their own, and the tables that we compute. */
export function isOtherPart(name: string): boolean {
  return /^(text_encoder|audio_encoder)\./.test(name) || name.endsWith("embed_positions.weights");
}

/** Their names for one of ours, top to bottom; null when their class has no place for it. */
export function hfNames(name: string, decoderPrefix = DECODER_PREFIX): string[] | null {
  const projection = /^condition_provider\.conditioners\.(description|self_wav)\.output_proj\.(\w+)$/.exec(
    name,
  );
  if (projection) {
    return [`${projection[1] === "self_wav" ? "audio_enc_to_dec_proj" : "enc_to_dec_proj"}.${projection[2]}`];
  }
  const inner = decoderNames(name);
  return inner?.map((part) => decoderPrefix + part) ?? null;
}

function decoderNames(name: string): string[] | null {
  const [, table, index, end] = /^(emb|linears)\.(\d+)\.(weight)$/.exec(name) ?? [];
  if (table === "emb") return [`model.decoder.embed_tokens.${index}.${end}`];
  if (table === "linears") return [`lm_heads.${index}.${end}`];
  const outNorm = /^out_norm\.(weight|bias)$/.exec(name);
  if (outNorm) return [`model.decoder.layer_norm.${outNorm[1]}`];
  const [, layer, part, rest] = /^transformer\.layers\.(\d+)\.(\w+)\.(.+)$/.exec(name) ?? [];
  const theirs = LAYER_PARTS[part as keyof typeof LAYER_PARTS];
  if (theirs === undefined) return null;
  const prefix = `model.decoder.layers.${layer}.${theirs}`;
  const tail = rest.replace(/^mha\./, ""); // PyTorch's own attention is one level deeper
  if (tail === "in_proj_weight") return ["q", "k", "v"].map((p) => `${prefix}.${p}_proj.weight`);
  if (/^(fc|.*norm)/.test(theirs)) return /^(weight|bias)$/.test(tail) ? [`${prefix}.${tail}`] : null;
  return tail === "out_proj.weight" ? [`${prefix}.${tail}`] : null;
}

const LAYER_PARTS = {
  self_attn: "self_attn",
  cross_attention: "encoder_attn",
  linear1: "fc1",
  linear2: "fc2",
  norm1: "self_attn_layer_norm",
  norm_cross: "encoder_attn_layer_norm",
  norm2: "final_layer_norm",
} as const;
