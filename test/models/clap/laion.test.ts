/** laion_clap's names: a model of its own classes (test/golden/clap/laion.safetensors) gives its own embeddings here. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { UserError } from "../../../src/errors.ts";
import { parseClapConfig } from "../../../src/models/clap/config.ts";
import { laionNames } from "../../../src/models/clap/laion.ts";
import { LOG_MEL_DEFAULTS, LogMel } from "../../../src/models/clap/log_mel.ts";
import { ClapModel } from "../../../src/models/clap/model.ts";
import { textPositions } from "../../../src/models/clap/text_encoder.ts";
import { loadState } from "../../../src/nn/index.ts";
import { tf } from "../../../src/runtime/index.ts";
import { close } from "../../close.ts";
import { golden } from "./golden.ts";

const file = openSafetensors(`${golden}laion.safetensors`);

function load(): ClapModel {
  const model = new ClapModel(
    parseClapConfig(
      {
        model_type: "clap",
        projection_dim: 12,
        audio_config: {
          ...{ num_mel_bins: 16, spec_size: 64, patch_embeds_hidden_size: 4, window_size: 4 },
          ...{ depths: [2, 2, 2], num_attention_heads: [1, 2, 4] },
        },
        text_config: {
          ...{ vocab_size: 50, hidden_size: 8, num_hidden_layers: 2, num_attention_heads: 2 },
          ...{ intermediate_size: 12, max_position_embeddings: 20, layer_norm_eps: 1e-5 },
        },
      },
      "test",
    ),
  );
  loadState(model, laionNames(file), { ignore: () => true });
  return model;
}

test("audio embeddings equal laion_clap's to 1e-5, front end included", () => {
  const options = {
    sampleRate: 4000,
    melBins: 16,
    fftSize: 256,
    hopLength: 40,
    maxFrequency: 1900,
    maxSamples: 4000,
  };
  const logMel = new LogMel({ ...LOG_MEL_DEFAULTS, ...options });
  const clips = file.readFloat32("clips");
  const mel = [0, 1].flatMap((row) => [...logMel.spectrogram(clips.subarray(row * 4000, (row + 1) * 4000))]);
  const embeddings = load().audio(tf.tensor3d(mel, [2, 101, 16]));
  close(embeddings.dataSync() as Float32Array, file.readFloat32("audio_embeds"), 1e-5);
});

test("text embeddings equal laion_clap's to 1e-5", () => {
  const ids = Int32Array.from(file.readFloat32("ids"));
  const embeddings = load().text(
    tf.tensor2d(ids, [2, 5], "int32"),
    tf.tensor2d(textPositions(ids, 5, 1), [2, 5], "int32"),
    tf.tensor2d(
      Float32Array.from(ids, (id) => (id === 1 ? 0 : 1)),
      [2, 5],
    ),
  );
  close(embeddings.dataSync() as Float32Array, file.readFloat32("text_embeds"), 1e-5);
});

test("a file that is no checkpoint of laion_clap is refused", () => {
  const source = {
    path: "x.pt",
    names: ["a.weight"],
    shape: () => [1],
    readFloat32: () => new Float32Array(1),
  };
  assert.throws(() => laionNames(source), UserError);
});
