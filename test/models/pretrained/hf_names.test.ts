/** The names of AudioCraft and Hugging Face for the same tensors (test/golden/convert). */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { hfNames } from "../../../src/models/pretrained/hf_names.ts";
import { pretrainedName } from "../../../src/models/pretrained/index.ts";

const file = new URL("../../golden/convert/rename_map.json", import.meta.url);
const golden = JSON.parse(readFileSync(file, "utf8")) as Record<string, string | string[]>;

test("every tensor of AudioCraft's has the name, or the three, that the conversion gives it", () => {
  for (const [name, expected] of Object.entries(golden))
    assert.deepEqual(hfNames(name, ""), [expected].flat());
});

test("PyTorch's own attention, one level deeper, has the same names", () => {
  const name = "transformer.layers.3.self_attn.mha.out_proj.weight";
  assert.deepEqual(hfNames(name), ["decoder.model.decoder.layers.3.self_attn.out_proj.weight"]);
});

test("what the class has no place for has no name", () => {
  for (const end of ["self_attn.in_proj_bias", "layer_scale_1.scale", "self_attn.q_layer_norm.weight"]) {
    assert.equal(hfNames(`transformer.layers.0.${end}`), null, end);
  }
});

test("published models go by their repository, with and without //pretrained/, and by AudioCraft's short names", () => {
  assert.equal(pretrainedName("//pretrained/facebook/musicgen-small"), "facebook/musicgen-small");
  assert.equal(
    pretrainedName("facebook/musicgen-stereo-melody-large"),
    "facebook/musicgen-stereo-melody-large",
  );
  assert.equal(pretrainedName("melody"), "facebook/musicgen-melody");
  assert.equal(pretrainedName("stereo-small"), "facebook/musicgen-stereo-small");
  assert.equal(pretrainedName("outputs/xps/0123/checkpoint.safetensors"), null);
  assert.equal(pretrainedName("//sig/0123abcd"), null);
});
