/** Whole runs of a codec's training: what they leave, how they go on, and what uses them. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { openSafetensors } from "../../src/checkpoint/safetensors.ts";
import {
  asMusicGenConfig,
  asTrainConfig,
  composeTrainConfig,
  configFromYaml,
} from "../../src/config/index.ts";
import { exportModel } from "../../src/export.ts";
import { createLogger } from "../../src/log/logger.ts";
import { buildEncodec, loadCompressionModel, loadEncodec } from "../../src/models/encodec/index.ts";
import { InitializerStream } from "../../src/nn/index.ts";
import { scoped } from "../../src/runtime/index.ts";
import { CompressionStep } from "../../src/solvers/compression_step.ts";
import { buildSolver, type Solver } from "../../src/solvers/index.ts";
import { locateModel } from "../../src/solvers/resolve.ts";
import { openExperiment } from "../../src/xp/folder.ts";
import { trainSignature } from "../../src/xp/signature.ts";
import { tinyCodec, tinyCodecConfig, tones } from "./tiny_codec.ts";
import { experiment, folder, makeData } from "./whole_runs.ts";

const overrides = [
  ...tinyCodec,
  "rvq.q_dropout=true",
  "dataset.batch_size=2",
  "dataset.evaluate.batch_size=2",
  "dataset.segment_duration=0.2",
  "dataset.evaluate.segment_duration=0.2",
  "dataset.generate.segment_duration=0.2",
  "dataset.generate.num_samples=2",
  "dataset.num_workers=0",
  "dataset.valid.num_samples=4",
  "optim.lr=3e-3",
  "optim.epochs=2",
  "optim.updates_per_epoch=12",
  "logging.level=ERROR",
  ...["train", "valid", "evaluate", "generate"].map((split) => `datasource.${split}=${join(folder, "data")}`),
];

before(makeData);

/** Trains in this process, with the experiments in `outputs`; where an interruption ended it, the signal's name. */
async function train(outputs: string, ...more: string[]): Promise<string | null> {
  const argv = [...overrides, ...more];
  const config = composeTrainConfig(argv);
  const signature = trainSignature(argv);
  const experiment = openExperiment(join(folder, outputs), signature);
  const log = createLogger({ level: "error", terminal: null });
  let solver: Solver | null = null;
  try {
    solver = await buildSolver(asTrainConfig(config), {
      signature: signature.sig,
      argv: signature.argv,
      folder: experiment.dir,
      doraDir: join(folder, outputs),
      configYaml: config.toYaml({ resolve: false }),
      gitCommit: null,
      datasetMappers: [],
      log,
      writeHistory: (history) => experiment.writeHistory(history),
    });
    await solver.train();
    return null;
  } catch (error) {
    if ((error as Error).name !== "Interrupted") throw error;
    return (error as { signal?: string }).signal!;
  } finally {
    await solver?.close();
    experiment.close();
  }
}

test("a run lowers the losses and raises SI-SNR, and leaves AudioCraft's metrics, a checkpoint and pairs of sounds", async () => {
  assert.equal(await train("codec"), null);
  const xp = experiment("codec");
  const [first, last] = JSON.parse(readFileSync(join(xp, "history.json"), "utf8"));
  for (const name of ["l1", "msspec", "sisnr"]) {
    assert.ok(last.valid[name] < first.valid[name], `${name}: ${first.valid[name]} -> ${last.valid[name]}`);
  }
  const names =
    "bandwidth d_msstftd d_loss adv_msstftd feat_msstftd l1 msspec sisnr penalty g_loss ratio1 ratio2 " +
    "ratio_adv_msstftd ratio_feat_msstftd ratio_l1 ratio_msspec ratio_sisnr adv feat duration";
  assert.deepEqual(Object.keys(last.train).sort(), names.split(" ").sort());
  assert.deepEqual(Object.keys(last.evaluate), ["sisnr", "duration"]);
  const [sample] = readdirSync(join(xp, "samples", "2")).filter((name) => name.endsWith(".json"));
  const { id, reference } = JSON.parse(readFileSync(join(xp, "samples", "2", sample), "utf8"));
  assert.equal(reference.id, id);
  assert.deepEqual(
    readdirSync(join(xp, "samples", "2")).sort(),
    readdirSync(join(xp, "samples", "reference"))
      .flatMap((wav) => [wav, wav.replace(".wav", ".json")])
      .sort(),
  );
});

test("the discriminators learn in some of the updates, as adversarial.every says", () => {
  const { metadata } = openSafetensors(join(experiment("codec"), "checkpoint.safetensors"));
  const { updates, adversaries } = JSON.parse(metadata.state);
  assert.equal(updates, 24);
  const learned = adversaries["adv_losses.msstftd"].updates;
  assert.ok(learned > 4 && learned < 20, `${learned} of 24`);
});

test("an interrupted run that goes on ends with the weights, discriminators and averages of an uninterrupted one, to the bit", async () => {
  const { train: step } = CompressionStep.prototype;
  let updates = 0;
  CompressionStep.prototype.train = function (...args) {
    if (++updates === 5) process.emit("SIGTERM", "SIGTERM");
    return step.apply(this, args);
  };
  try {
    assert.equal(await train("resumed"), "SIGTERM");
    assert.equal(updates, 5);
    assert.equal(await train("resumed"), null);
    assert.equal(updates, 24);
  } finally {
    CompressionStep.prototype.train = step;
  }
  const [expected, actual] = ["codec", "resumed"].map((outputs) =>
    openSafetensors(join(experiment(outputs), "checkpoint.safetensors")),
  );
  assert.deepEqual([...actual.names], [...expected.names]);
  for (const name of expected.names) assert.deepEqual(actual.read(name), expected.read(name), name);
});

test("//sig/ and the path of a trained codec give its averaged weights, and their codes", async () => {
  const xp = experiment("codec");
  const network = buildEncodec(tinyCodecConfig() as never, new InitializerStream(0));
  loadEncodec(network, openSafetensors(join(xp, "checkpoint.safetensors")), { prefix: "ema.model." });
  const expected = scoped(() => network.encode(tones()).codes.dataSync());
  for (const name of [`//sig/${xp.slice(-8)}`, xp, join(xp, "checkpoint.safetensors")]) {
    const codec = await loadCompressionModel(name, { doraDir: join(folder, "codec") });
    assert.deepEqual(
      scoped(() => codec.encode(tones()).codes.dataSync()),
      expected,
      name,
    );
    codec.dispose();
  }
});

for (const format of ["hf", "audiocraft", "safetensors"] as const) {
  test(`an export of a trained codec (${format}), by its signature, gives the same codes`, async () => {
    const xp = experiment("codec");
    const name = `//sig/${xp.slice(-8)}`;
    const before = process.env.AUDIOCRAFT_DORA_DIR;
    process.env.AUDIOCRAFT_DORA_DIR = join(folder, "codec");
    try {
      const out = join(folder, `export-${format}`);
      const written = await exportModel({ model: xp.slice(-8), format, out, dtype: "float32" });
      const path = format === "audiocraft" ? join(written, "compression_state_dict.bin") : written;
      const [expected, actual] = await Promise.all(
        [name, path].map(async (codec) => {
          const loaded = await loadCompressionModel(codec);
          return scoped(() => loaded.encode(tones()).codes.dataSync());
        }),
      );
      assert.deepEqual(actual, expected);
    } finally {
      if (before === undefined) delete process.env.AUDIOCRAFT_DORA_DIR;
      else process.env.AUDIOCRAFT_DORA_DIR = before;
    }
  });
}

test("a run that trains a codec is no model to generate from, named or the newest", () => {
  const doraDir = join(folder, "codec");
  assert.deepEqual(locateModel(null, doraDir), locateModel("default", doraDir), "the shipped model instead");
  const { path } = locateModel(experiment("codec").slice(-8), doraDir) as { path: string };
  const { "xp.cfg": yaml } = openSafetensors(path).metadata;
  assert.throws(() => asMusicGenConfig(configFromYaml(yaml)), {
    message: /solver=compression trains a codec/,
  });
});

test("continue_from takes the weights of a trained codec, its codebooks included", async () => {
  const xp = experiment("codec");
  const source = openSafetensors(join(xp, "checkpoint.safetensors"));
  const still = ["optim.lr=0", "rvq.decay=1", "rvq.threshold_ema_dead_code=0"];
  await train("continued", `continue_from=${xp}`, ...still, "optim.epochs=1", "optim.updates_per_epoch=2");
  const continued = openSafetensors(join(experiment("continued"), "checkpoint.safetensors"));
  for (const name of ["encoder.model.0.conv.conv.weight_v", "quantizer.vq.layers.0._codebook.embed_avg"]) {
    assert.deepEqual(continued.read(`model.${name}`), source.read(`ema.model.${name}`), name);
  }
});

for (const [override, message] of [
  ["evaluate.metrics.visqol=true", /evaluate\.metrics\.visqol=true.*is not built/],
  ["optim.accumulate=2", /optim\.accumulate=2.*is not built/],
  ["autocast=true", /autocast=true.*is not built/],
  ["adversarial.adversaries=[]", /losses\.adv and losses\.feat need a discriminator/],
  ["losses.adv=0 losses.feat=0 losses.l1=0 losses.msspec=0 losses.sisnr=0", /no loss has a weight above 0/],
  ["+losses.l3=1", /losses\.l3 is unknown/],
  ["adversarial.adversaries=[mssd]", /mssd is unknown; use msstftd, mpd or msd/],
  ["encodec.sample_rate=24000", /encodec\.sample_rate=24000.*do not fit sample_rate=16000/],
] as const) {
  test(`${override} is refused by name before training`, async () => {
    await assert.rejects(train("refused", ...override.split(" ")), { message });
  });
}
