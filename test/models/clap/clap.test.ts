/** CLAP against transformers' ClapModel and ClapFeatureExtractor (test/golden/clap). */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { UserError } from "../../../src/errors.ts";
import { clapArchitecture, parseClapConfig } from "../../../src/models/clap/config.ts";
import { loadClap } from "../../../src/models/clap/load.ts";
import { LOG_MEL_DEFAULTS, LogMel } from "../../../src/models/clap/log_mel.ts";
import { configureRuntime } from "../../../src/runtime/index.ts";
import { close } from "../../close.ts";
import { CLIPS, golden, readTexts } from "./golden.ts";

for (const variant of ["relu", "gelu"]) {
  const folder = `${golden}${variant}`;
  const outputs = openSafetensors(`${folder}/outputs.safetensors`);
  const clips = CLIPS.map((name) => outputs.readFloat32(name));

  test(`${variant}: spectrograms of whole and of short clips equal transformers' to 1e-3 dB`, async () => {
    const { logMel } = await loadClap(folder);
    const actual = clips.flatMap((clip) => [...logMel.spectrogram(clip)]);
    close(actual, outputs.readFloat32("mel"), 1e-3);
  });

  for (const mode of ["none", "graph", "xla"] as const) {
    test(`${variant}: embeddings of audio and text equal transformers' to 1e-5 (jit=${mode})`, async () => {
      configureRuntime({ jit: mode });
      const clap = await loadClap(folder);
      const audio = clap.embedAudio(clips);
      assert.deepEqual(audio.shape, [3, 12]);
      close(audio.dataSync() as Float32Array, outputs.readFloat32("audio_embeds"), 1e-5);
      const text = clap.embedText(readTexts(variant).texts);
      close(text.dataSync() as Float32Array, outputs.readFloat32("text_embeds"), 1e-5);
    });
  }
}

test("a clip that is longer than the model hears at once is an error of the program", () => {
  const logMel = new LogMel({ ...LOG_MEL_DEFAULTS, maxSamples: 1000 });
  assert.throws(() => logMel.spectrogram(new Float32Array(1001)), /at most 1000 samples/);
});

test("HTSAT-base of laion_clap has 128 channels, depths 2 2 12 2 and RoBERTa base's epsilon", () => {
  const { audio, text, projectionDim } = clapArchitecture("HTSAT-base");
  assert.deepEqual([audio.dim, audio.depths, text.epsilon, projectionDim], [128, [2, 2, 12, 2], 1e-5, 512]);
  assert.throws(() => clapArchitecture("PANN-14"), UserError);
});

test("what is not built is refused by the name of its key", () => {
  const refuses = (config: object, reason: RegExp) =>
    assert.throws(
      () => parseClapConfig({ model_type: "clap", ...config }, "config.json"),
      (error) => error instanceof UserError && reason.test(error.message),
    );
  refuses({ audio_config: { enable_fusion: true } }, /enable_fusion=true is not built/);
  refuses({ audio_config: { hidden_size: 700 } }, /hidden_size 700 is not the size 768/);
  refuses({ model_type: "clip" }, /model_type="clip" is not built/);
});

test("a folder without its tokenizer is refused with the name of the missing file", async (context) => {
  const folder = mkdtempSync(join(tmpdir(), "clap-"));
  context.after(() => rmSync(folder, { recursive: true }));
  for (const name of ["config.json", "preprocessor_config.json", "model.safetensors"]) {
    cpSync(`${golden}relu/${name}`, join(folder, name));
  }
  await assert.rejects(
    loadClap(folder),
    (error) => error instanceof UserError && /tokenizer\.json/.test(error.message),
  );
});
