/** What Hugging Face's classes have no place for, by the keys of our config. */
import type { MusicGenConfig } from "../config/index.ts";
import type { EncodecOptions } from "../models/encodec/config.ts";
import { type Chroma, chromaOf, isMelody, windowOf } from "./melody.ts";

type Json = Record<string, unknown>;

/** Options that transformers' MusicGen has no place for, as `key=value`; [] when the model fits. */
export function musicGenObstacles(cfg: MusicGenConfig): string[] {
  const lm = cfg.transformer_lm;
  const melody = isMelody(cfg);
  const { fuser, codebooks_pattern: pattern } = cfg;
  const fixed: Partial<Record<keyof typeof lm, unknown[]>> = {
    positional_embedding: ["sin"],
    xpos: [false],
    norm: ["layer_norm"],
    norm_first: [true],
    bias_ff: [false],
    bias_attn: [false],
    bias_proj: [false],
    causal: [true],
    past_context: [null],
    layer_scale: [null],
    kv_repeat: [1],
    qk_layer_norm: [false],
    qk_layer_norm_cross: [false],
    activation: ["gelu", "relu"],
    positional_scale: [undefined, 1],
    max_period: [undefined, 10000],
  } as never;
  const found = Object.entries(fixed)
    .map(([key, allowed]) => [key, (lm as Json)[key], allowed] as const)
    .filter(([, value, allowed]) => !(allowed as unknown[]).includes(value))
    .map(([key, value]) => `transformer_lm.${key}=${value}`);
  const channels = cfg.interleave_stereo_codebooks.use ? 2 : 1;
  if (cfg.interleave_stereo_codebooks.per_timestep && channels === 2)
    found.push("interleave_stereo_codebooks.per_timestep=true");
  const delays = pattern.delay?.delays ?? Array.from({ length: lm.n_q }, (_, k) => k);
  const expected = Array.from({ length: lm.n_q }, (_, k) => Math.floor(k / channels));
  if (pattern.modeling !== "delay") found.push(`codebooks_pattern.modeling=${pattern.modeling}`);
  else if (delays.join() !== expected.join() || pattern.delay?.flatten_first || pattern.delay?.empty_initial)
    found.push(`codebooks_pattern.delay=${JSON.stringify(pattern.delay)}`);
  if (fuser.cross_attention_pos_emb) found.push("fuser.cross_attention_pos_emb=true");
  for (const method of ["sum", "input_interpolate"] as const) {
    if (fuser[method].length > 0) found.push(`fuser.${method}=[${fuser[method]}]`);
  }
  const models = Object.entries(cfg.conditioners ?? {}).filter(([name]) => name !== "args");
  const kinds = melody ? { self_wav: "chroma_stem", description: "t5" } : { description: "t5" };
  for (const [name, { model }] of models) {
    if ((kinds as Json)[name] !== model) found.push(`conditioners.${name}.model=${model}`);
  }
  for (const name of Object.keys(kinds)) {
    if (!models.some(([known]) => known === name)) found.push(`no conditioner "${name}"`);
  }
  const method = melody ? "prepend" : "cross";
  if (melody && fuser.cross.length > 0) found.push(`fuser.cross=[${fuser.cross}] beside fuser.prepend`);
  if (Object.keys(kinds).some((name) => !fuser[method].includes(name)))
    found.push(`fuser.${method}=[${fuser[method]}]`);
  const t5 = cfg.conditioners?.description?.t5;
  if (t5?.normalize_text) found.push("conditioners.description.t5.normalize_text=true");
  if (!melody && fuser.prepend.length > 0) found.push(`fuser.prepend=[${fuser.prepend}]`);
  if (melody) found.push(...chromaObstacles(chromaOf(cfg)));
  return found;
}

function chromaObstacles(chroma: Chroma): string[] {
  const path = "conditioners.self_wav.chroma_stem";
  const window = chroma.winlen ?? 2 ** (chroma.radix2_exp ?? 12);
  return [
    ...(chroma.argmax === true ? [] : [`${path}.argmax=false`]),
    ...(window === windowOf(chroma) ? [] : [`${path}.winlen=${window} other than its nfft`]),
  ];
}

/** The same of a codec, for transformers' EnCodec. */
export function encodecObstacles(options: EncodecOptions): string[] {
  const { encoder, decoder } = options;
  const found: string[] = [];
  const differing = Object.keys(encoder).filter((key) => {
    const [a, b] = [encoder, decoder].map((o) => JSON.stringify((o as unknown as Json)[key]));
    return a !== b && !/^(trimRightRatio|finalActivation)/.test(key);
  });
  for (const key of differing) found.push(`seanet.encoder and seanet.decoder with another ${key}`);
  if (!["weight_norm", "time_group_norm"].includes(decoder.norm)) found.push(`seanet.norm=${decoder.norm}`);
  if (decoder.norm === "time_group_norm" && (decoder.normParams.eps !== 1e-5 || !decoder.normParams.affine))
    found.push(`seanet.norm_params=${JSON.stringify(decoder.normParams)}`);
  if (decoder.activation !== "ELU" || (decoder.activationParams.alpha ?? 1) !== 1)
    found.push(`seanet.activation=${decoder.activation} ${JSON.stringify(decoder.activationParams)}`);
  if (!Number.isInteger(Math.log2(options.quantizer.bins)))
    found.push(`rvq.bins=${options.quantizer.bins}, which is no power of 2`);
  if (decoder.lstm === 0) found.push("seanet.lstm=0");
  if (decoder.disableNormOuterBlocks > 0)
    found.push(`seanet.disable_norm_outer_blocks=${decoder.disableNormOuterBlocks}`);
  if (decoder.finalActivation !== null)
    found.push(`seanet.decoder.final_activation=${decoder.finalActivation}`);
  return found;
}
