/** Weights of EnCodec out of files with AudioCraft's names (ours) or Hugging Face's. */
import { loadState, type TensorSource } from "../../nn/index.ts";
import type { EncodecNetwork } from "./model.ts";

export interface LoadEncodecOptions {
  /** In front of every name, as `audio_encoder.` in a whole MusicGen; tensors without it are left alone. */
  prefix?: string;
}

/** Copies the weights of `source` into `model`. Throws a UserError that names what is missing or does not fit. */
export function loadEncodec(
  model: EncodecNetwork,
  source: TensorSource,
  options: LoadEncodecOptions = {},
): void {
  const { prefix = "" } = options;
  const names = source.names.filter((name) => name.startsWith(prefix));
  const isHf = names.some((name) => name.startsWith(`${prefix}encoder.layers.`));
  const isParametrized = names.some((name) => name.includes(".parametrizations.weight."));
  loadState(model, source, {
    rename: (name) => prefix + (isHf ? hfName(name, isParametrized) : name),
    ignore: (name) => !name.startsWith(prefix),
  });
}

/** Hugging Face's name of a parameter; with `parametrized`, as newer PyTorch calls the parts of a normed weight. */
export function hfName(name: string, parametrized: boolean): string {
  const renamed = name
    .replace(/^(encoder|decoder)\.model\./, "$1.layers.")
    .replace(/\.conv\.norm\.|\.convtr\.norm\./, ".norm.")
    .replace(/\.conv\.conv\.|\.convtr\.convtr\./, ".conv.")
    .replace(/^quantizer\.vq\.layers\.(\d+)\._codebook\./, "quantizer.layers.$1.codebook.");
  if (!parametrized) return renamed;
  return renamed
    .replace(/\.weight_g$/, ".parametrizations.weight.original0")
    .replace(/\.weight_v$/, ".parametrizations.weight.original1");
}
