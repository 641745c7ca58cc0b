/** Models in AudioCraft's files: exports, checkpoints of its training, names of older releases, codecs beside them. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type TorchWritable, writeTorchArchive } from "../../../src/checkpoint/torch/write.ts";
import { asMusicGenConfig, composeTrainConfig } from "../../../src/config/index.ts";
import { buildLM } from "../../../src/models/builders.ts";
import { loadMusicGen } from "../../../src/solvers/trained.ts";

const scratch = mkdtempSync(join(tmpdir(), "musicgen-audiocraft-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** A small model conditioned by a word table, and its config as AudioCraft's, without what only we have. */
const config = composeTrainConfig(["transformer_lm.dim=16", "transformer_lm.num_layers=1"]);
const lm = await buildLM(asMusicGenConfig(config));
const weights = new Map(lm.namedParameters().map(([name, p]) => [name, p.read() as Float32Array]));

function stateDict(rename = (name: string) => name): { [key: string]: TorchWritable } {
  return Object.fromEntries(
    lm
      .namedParameters()
      .map(([name, p]): [string, TorchWritable] => [
        rename(name),
        { dtype: "F32", shape: p.shape, data: () => p.read() },
      ]),
  );
}

async function folderOf(name: string, file: string, value: TorchWritable): Promise<string> {
  const folder = join(scratch, name);
  mkdirSync(folder, { recursive: true });
  await writeTorchArchive(join(folder, file), value);
  return folder;
}

async function assertLoads(model: string): Promise<void> {
  const { musicgen } = await loadMusicGen(model);
  const loaded = new Map(musicgen.lm.namedParameters().map(([name, p]) => [name, p.read() as Float32Array]));
  assert.deepEqual(loaded, weights);
}

const exported = (best: { [key: string]: TorchWritable }, more: { [key: string]: TorchWritable } = {}) => ({
  best_state: best,
  "xp.cfg": config.toYaml(),
  exported: true,
  ...more,
});

test("an export loads by its folder and by its file", async () => {
  const folder = await folderOf("export", "state_dict.bin", exported(stateDict()));
  await assertLoads(folder);
  await assertLoads(join(folder, "state_dict.bin"));
});

test("names of PyTorch's own attention, and saved rotary tables, are understood", async () => {
  const best = stateDict((name) => name.replace(/(self_attn|cross_attention)\./, "$1.mha."));
  const table: TorchWritable = { dtype: "F32", shape: [2], data: () => new Float32Array(2) };
  best["transformer.rope.frequencies"] = table;
  await assertLoads(await folderOf("legacy", "state_dict.bin", exported(best)));
});

test("of a training checkpoint the best state counts; that of FSDP before the other", async () => {
  const zeros = Object.fromEntries(
    lm
      .namedParameters()
      .map(([name, p]): [string, TorchWritable] => [
        name,
        { dtype: "F32", shape: p.shape, data: () => new Float32Array(p.size) },
      ]),
  );
  const checkpoint = {
    "xp.cfg": config.toObject({ keepMissing: true }) as TorchWritable,
    model: zeros,
    best_state: { model: zeros },
    fsdp_best_state: { model: stateDict() },
  };
  await assertLoads(await folderOf("fsdp", "checkpoint.th", checkpoint));
  await assertLoads(
    await folderOf("best", "checkpoint.th", {
      ...checkpoint,
      best_state: { model: stateDict() },
      fsdp_best_state: {},
    }),
  );
});

test("checkpoints with the conditioners' weights apart are put together", async () => {
  const prefix = "condition_provider.";
  const whole = Object.entries(stateDict());
  const value = {
    "xp.cfg": config.toYaml(),
    model: Object.fromEntries(whole.filter(([name]) => !name.startsWith(prefix))),
    condition_provider: Object.fromEntries(
      whole.flatMap(([name, tensor]) =>
        name.startsWith(prefix) ? [[name.slice(prefix.length), tensor]] : [],
      ),
    ),
  };
  await assertLoads(await folderOf("apart", "checkpoint.th", value));
});

test("a codec beside the model that only names a published one is that one", async () => {
  const folder = await folderOf("pointer", "state_dict.bin", exported(stateDict()));
  await folderOf("pointer", "compression_state_dict.bin", { pretrained: "dac_44khz", exported: true });
  await assert.rejects(loadMusicGen(folder), /dac_44khz|DAC/);
});

test("missing and unexpected tensors are listed by name", async () => {
  const best = stateDict((name) => (name === "emb.1.weight" ? "emb.7.weight" : name));
  const folder = await folderOf("broken", "state_dict.bin", exported(best));
  await assert.rejects(loadMusicGen(folder), /missing: emb\.1\.weight; unexpected: emb\.7\.weight/);
});
