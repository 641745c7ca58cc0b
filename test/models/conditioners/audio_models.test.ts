/** Style and CLAP conditioners from configs (those of config/conditioner, on tiny models), in a provider. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parse } from "yaml";
import { emptyAttributes } from "../../../src/data/conditioning.ts";
import { UserError } from "../../../src/errors.ts";
import { buildConditioners } from "../../../src/models/conditioners/build.ts";
import { lossMask } from "../../../src/models/conditioners/provider.ts";
import { InitializerStream } from "../../../src/nn/index.ts";

type Section = Record<string, unknown>;

const golden = new URL("../../golden/", import.meta.url).pathname;

/** `conditioners.<name>.<model>` of a file in config/conditioner. */
function section(file: string, name: string, model: string): Section {
  const path = new URL(`../../../config/conditioner/${file}.yaml`, import.meta.url).pathname;
  return parse(readFileSync(path, "utf8")).conditioners[name][model];
}

const style = (changes: Section): Section => ({
  ...section("style2music", "self_wav", "style"),
  ...{ sample_rate: 16000, num_codebooks_lm: 4, mert_checkpoint: `${golden}mert` },
  ...changes,
});

const clap = (changes: Section): Section => ({
  ...section("clapemb2music", "description", "clap"),
  ...{ checkpoint: `${golden}clap/relu`, sample_rate: 4000, max_audio_length: 1, dim: 12 },
  ...changes,
});

function build(name: string, model: string, options: Section) {
  const cfg = {
    conditioners: { [name]: { model, [model]: options } },
    fuser: { prepend: [name] },
  };
  return buildConditioners(cfg, 6, new InitializerStream(1));
}

async function refuses(name: string, model: string, options: Section, reason: RegExp) {
  await assert.rejects(
    build(name, model, options),
    (error) => error instanceof UserError && reason.test(error.message),
  );
}

test("style2music's settings build a conditioner whose parameters have the published names", async () => {
  const { provider } = await build("self_wav", "style", style({}));
  const shapes = new Map(provider.namedParameters().map(([name, { shape }]) => [name, shape]));
  const prefix = "conditioners.self_wav.";
  for (const [name, shape] of Object.entries({
    "output_proj.weight": [6, 512],
    "embed.weight": [512, 16],
    "transformer.layers.7.self_attn.in_proj_weight": [1536, 512],
    "transformer.layers.0.linear1.weight": [2048, 512],
    "rvq.vq.layers.5._codebook.embed": [1024, 512],
    "batch_norm.running_var": [512],
  })) {
    assert.deepEqual(shapes.get(prefix + name), shape, name);
  }
  assert.ok(!shapes.has(`${prefix}transformer.layers.0.linear1.bias`));
});

test("style: encodec features, without transformer and bottleneck, from a provider with a loss mask", async () => {
  const options = style({
    ...{ model_name: "encodec", encodec_checkpoint: "//pretrained/debug_compression_model", encodec_n_q: 3 },
    ...{ transformer_scale: "none", n_q_out: 0, batch_norm: false, ds_factor: 5, length: 0.4 },
  });
  const { provider } = await build("self_wav", "style", options);
  const wav = { wav: new Float32Array(16000), shape: [1, 1, 16000], length: 16000 } as const;
  const self_wav = {
    ...wav,
    shape: [1, 1, 16000] as [1, number, number],
    sampleRate: 16000,
    path: null,
    seekTime: 0,
  };
  const prepared = provider.prepare([{ ...emptyAttributes(), wav: { self_wav } }], { training: false });
  assert.deepEqual(lossMask(prepared)!.shape, [1, 25]);
  const { embedding } = provider.forward(prepared).self_wav;
  assert.deepEqual(embedding.shape, [1, 2, 6]);
});

test("style: unknown models, scales, bounds and counts are refused by the name of their key", async () => {
  const refused = (changes: Section, reason: RegExp) => refuses("self_wav", "style", style(changes), reason);
  await refused({ model_name: "clap" }, /style\.model_name=clap is unknown/);
  await refused({ transformer_scale: "huge" }, /transformer_scale=huge is unknown/);
  await refused({ varying_lengths: [4, 2] }, /varying_lengths=\[4,2\]/);
  await refused({ eval_q: 7 }, /eval_q=7 must be between 1 and style\.n_q_out=6/);
  await refused({ codebooks: 7 }, /style\.codebooks is not an option/);
});

test("clapemb2music's settings build a conditioner of twelve codebooks", async () => {
  const { provider } = await build("description", "clap", clap({}));
  const names = provider.namedParameters().map(([name]) => name);
  assert.ok(names.includes("conditioners.description.quantizer.vq.layers.11._codebook.embed"));
  assert.equal(provider.conditioners.description.kind, "joint_embed");
});

test("clap: fusion, another attribute, and sizes that the checkpoint has not are refused", async () => {
  const refused = (changes: Section, reason: RegExp) => refuses("description", "clap", clap(changes), reason);
  await refused({ enable_fusion: true }, /enable_fusion=true is not built/);
  await refused({ attribute: "title" }, /attribute=title is not the conditioner's name/);
  await refused({ dim: 512 }, /dim=512, but .* has 12/);
  await refused({ sample_rate: 48000 }, /sample_rate=48000, but .* has 4000/);
  await refused({ checkpoint: "//reference/clap/none.pt" }, /\/\/reference\/clap\/none\.pt/);
});
