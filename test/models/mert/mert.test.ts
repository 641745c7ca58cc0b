/** MERT against transformers' HuBERT, the same structure (test/golden/mert). */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { UserError } from "../../../src/errors.ts";
import { mertFrames, parseMertConfig } from "../../../src/models/mert/config.ts";
import { loadMert } from "../../../src/models/mert/load.ts";
import { type JitMode, jit, type Tensor, tf } from "../../../src/runtime/index.ts";
import { close } from "../../close.ts";

const golden = new URL("../../golden/mert/", import.meta.url).pathname;
const outputs = openSafetensors(`${golden}outputs.safetensors`);

async function hiddenStates(folder: string, mode: JitMode): Promise<Float32Array> {
  const encoder = await loadMert(folder);
  const wav = tf.tensor(outputs.readFloat32("wav"), [...outputs.shape("wav")]);
  const forward = jit((x: Tensor) => encoder.forward(x), { name: "mert", mode });
  const hidden = forward(wav);
  assert.deepEqual(hidden.shape, outputs.shape("hidden"));
  return hidden.dataSync() as Float32Array;
}

for (const mode of ["none", "graph", "xla"] as const) {
  test(`the last hidden states equal transformers' to 1e-5 (jit=${mode})`, async () => {
    close(await hiddenStates(golden, mode), outputs.readFloat32("hidden"), 1e-5);
  });
}

test("a pytorch_model.bin with the older names of a normed weight (weight_g, weight_v) loads the same", async (context) => {
  const folder = mkdtempSync(join(tmpdir(), "mert-"));
  context.after(() => rmSync(folder, { recursive: true }));
  cpSync(`${golden}config.json`, join(folder, "config.json"));
  cpSync(`${golden}older.bin`, join(folder, "pytorch_model.bin"));
  close(await hiddenStates(folder, "graph"), outputs.readFloat32("hidden"), 1e-5);
});

test("MERT-v1-95M hears 75 frames in a second of 24 kHz, less one at the end", () => {
  const config = parseMertConfig({ model_type: "mert_model" }, "config.json");
  assert.equal(mertFrames(config, 24000), 74);
  assert.equal(mertFrames(config, 72000), 224);
  assert.equal(mertFrames(config, 1), 0);
});

test("variants that are not built are refused by the name of their key", () => {
  const refuses = (config: object, reason: RegExp) =>
    assert.throws(
      () => parseMertConfig({ model_type: "mert_model", ...config }, "config.json"),
      (error) => error instanceof UserError && reason.test(error.message),
    );
  refuses({ feature_extractor_cqt: true }, /feature_extractor_cqt=true is not built/);
  refuses({ feat_extract_norm: "layer" }, /feat_extract_norm="layer" is not built/);
  refuses({ attention_relax: 32 }, /attention_relax=32 is not built/);
  refuses({ model_type: "wav2vec2" }, /this is "wav2vec2"/);
});
