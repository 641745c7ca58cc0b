/** Whole runs, as a user starts them: training, resuming, interrupting, generating, and what bad input leads to. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { openSafetensors } from "../../src/checkpoint/safetensors.ts";
import { audioInfo } from "../../src/data/audio/read.ts";
import { experiment, folder, makeData, run, small } from "./whole_runs.ts";

before(makeData);

test("a run lowers the loss, and leaves checkpoint, history, log and samples; run again it says that all is done", async () => {
  const first = await run("whole", "train", [...small, "logging.level=DEBUG"]);
  assert.equal(first.code, 0, first.output);
  assert.match(first.output, /first update after \d+\.\d s/);
  assert.match(first.output, /train: \d+ functions traced in/);
  const [, secondEpoch] = first.output.split(/epoch 1 of 2 done/);
  assert.doesNotMatch(secondEpoch, /(train|valid): \d+ functions traced/, "a second epoch traces nothing");
  assert.match(first.output, /Train Summary \| Epoch 1 \| .*ce=\d\.\d{3} \| ppl=/);
  const xp = experiment("whole");
  const history = JSON.parse(readFileSync(join(xp, "history.json"), "utf8"));
  assert.equal(history.length, 2);
  assert.ok(history[1].valid.ce < history[0].valid.ce);
  assert.deepEqual(Object.keys(history[0].train).filter((key) => key.startsWith("ce_q")).length, 4);
  const { metadata, names } = openSafetensors(join(xp, "checkpoint.safetensors"));
  assert.match(metadata["xp.cfg"], /transformer_lm:/);
  assert.equal(metadata["xp.sig"], xp.slice(-8));
  assert.match(metadata.git_commit, /^([0-9a-f]{40}(-dirty)?|unknown)$/);
  assert.equal(JSON.parse(metadata.history).length, 2);
  assert.ok(names.includes("model.transformer.layers.0.self_attn.in_proj_weight"));
  assert.ok(names.includes("best_state.model.emb.0.weight"));
  const [wav] = readdirSync(join(xp, "samples", "2")).filter((name) => name.endsWith(".wav"));
  const sample = JSON.parse(readFileSync(join(xp, "samples", "2", wav.replace(".wav", ".json")), "utf8"));
  assert.equal(typeof sample.conditioning.description, "string");
  assert.match(readFileSync(join(xp, "solver.log.0"), "utf8"), /\[INFO\] - Valid Summary/);

  const again = await run("whole", "train", small);
  assert.equal(again.code, 0);
  assert.match(again.output, /all 2 epochs are done/);
});

test("generate makes WAV files of the asked duration from the checkpoint alone, one per description, beyond the trained duration too", async () => {
  const out = join(folder, "generated");
  const result = await run("whole", "generate", [
    "a slow arpeggio",
    "drums",
    "duration=1.6",
    "--out",
    out,
    "seed=3",
  ]);
  assert.equal(result.code, 0, result.output);
  assert.match(result.output, /x real time/);
  const files = readdirSync(out);
  assert.equal(files.length, 2);
  for (const file of files) {
    const { duration, sampleRate } = await audioInfo(join(out, file));
    assert.equal(sampleRate, 16000);
    assert.ok(Math.abs(duration - 1.6) < 1e-6, `${duration}`);
  }
  const twice = await run("whole", "generate", [
    "drums",
    "duration=1",
    `out=${join(folder, "a.wav")}`,
    "seed=3",
  ]);
  assert.equal(twice.code, 0, twice.output);
  await run("whole", "generate", ["drums", "duration=1", `out=${join(folder, "b.wav")}`, "seed=3"]);
  assert.deepEqual(readFileSync(join(folder, "a.wav")), readFileSync(join(folder, "b.wav")));
});

test("Ctrl-C finishes the step and writes the checkpoint; run again it ends with the weights of an uninterrupted run, to the bit", async () => {
  let sent = false;
  const interrupted = await run("interrupted", "train", small, {
    onOutput: (output, kill) => {
      if (!sent && /Train \| Epoch 1 \| 2\/6/.test(output)) {
        sent = true;
        kill("SIGINT");
      }
    },
  });
  assert.equal(interrupted.code, 130, interrupted.output);
  assert.match(interrupted.output, /checkpoint after update \d of epoch 1/);
  const resumed = await run("interrupted", "train", small);
  assert.equal(resumed.code, 0, resumed.output);
  assert.match(resumed.output, /resumed [0-9a-f]{8} at update \d of epoch 1/);
  const [expected, actual] = ["whole", "interrupted"].map((outputs) =>
    openSafetensors(join(experiment(outputs), "checkpoint.safetensors")),
  );
  assert.deepEqual([...actual.names], [...expected.names]);
  for (const name of expected.names) assert.deepEqual(actual.read(name), expected.read(name), name);
});

test("a checkpoint that was cut in half is refused with its name; the run does not start over", async () => {
  const checkpoint = join(experiment("interrupted"), "checkpoint.safetensors");
  truncateSync(checkpoint, 50_000);
  for (const [command, args] of [
    ["train", small],
    ["generate", ["drums"]],
  ] as const) {
    const { code, output } = await run("interrupted", command, [...args]);
    assert.equal(code, 1);
    assert.match(output, /error: .*checkpoint\.safetensors.*cut short/);
    assert.doesNotMatch(output, /\n\s+at /);
  }
});

test("when the disk refuses a checkpoint the run says why; the previous one is whole, and the run goes on from it", async () => {
  let sent = false;
  const first = await run("full", "train", small, {
    onOutput: (output, kill) => {
      if (!sent && /Valid Summary \| Epoch 1/.test(output)) {
        sent = true;
        kill("SIGTERM");
      }
    },
  });
  assert.equal(first.code, 143, first.output);
  const checkpoint = join(experiment("full"), "checkpoint.safetensors");
  const bytes = readFileSync(checkpoint);
  const refused = await run("full", "train", small, { shell: "ulimit -f 200" }); // files of 200 kB at most
  assert.equal(refused.code, 1, refused.output);
  assert.match(refused.output, /error: .*checkpoint\.safetensors: cannot write: the file would be larger/);
  assert.deepEqual(readFileSync(checkpoint), bytes);
  const finished = await run("full", "train", small);
  assert.equal(finished.code, 0, finished.output);
});

test("numbered checkpoints: the newest keep_last stay, also without a last one, and generation and resumption use them", async () => {
  const args = [...small, "checkpoint.save_every=1", "checkpoint.keep_last=1", "checkpoint.save_last=false"];
  const trained = await run("numbered", "train", args);
  assert.equal(trained.code, 0, trained.output);
  const checkpoints = readdirSync(experiment("numbered")).filter((name) => name.startsWith("checkpoint"));
  assert.deepEqual(checkpoints, ["checkpoint_2.safetensors"]);
  const again = await run("numbered", "train", args);
  assert.match(again.output, /all 2 epochs are done/);
});

test("checkpoint.keep_every_states leaves only those in numbered checkpoints, which can be started from but not resumed", async () => {
  const args = [
    ...small,
    "checkpoint.save_every=1",
    "checkpoint.keep_every_states=[best_state]",
    "label=kept",
  ];
  const trained = await run("kept", "train", args);
  assert.equal(trained.code, 0, trained.output);
  const numbered = join(experiment("kept"), "checkpoint_1.safetensors");
  const { names, metadata } = openSafetensors(numbered);
  assert.ok(names.length > 0 && names.every((name) => name.startsWith("best_state.")));
  assert.equal(metadata.state, undefined);
  const started = await run("started", "train", [...small, `continue_from=${numbered}`]);
  assert.equal(started.code, 0, started.output);
  assert.match(started.output, /starting from the weights of .*checkpoint_1\.safetensors/);
});

test("a solver of one's own comes from files outside of the project: a plugin, and a config that names it", async () => {
  const mine = join(folder, "mine");
  mkdirSync(join(mine, "solver"), { recursive: true });
  const plugin = join(mine, "my_solver.mts");
  writeFileSync(
    plugin,
    `export function register({ registerSolver, MusicGenSolver }) {
       registerSolver("mine", async (cfg, run) => {
         run.log.info("this is my solver");
         return MusicGenSolver.build(cfg, run);
       });
     }`,
  );
  writeFileSync(
    join(mine, "solver", "mine.yaml"),
    readFileSync(new URL("../../config/solver/musicgen/tiny.yaml", import.meta.url), "utf8").replace(
      "\nautocast:",
      `\nsolver: mine\nplugins: ["${plugin}"]\nautocast:`,
    ),
  );
  const args = ["--config-dir", mine, "solver=mine", ...small, "optim.epochs=1", "optim.updates_per_epoch=2"];
  const { code, output } = await run("plugin", "train", args);
  assert.equal(code, 0, output);
  assert.match(output, /this is my solver/);
});

test("benchmark_no_load trains on the first batch again and again", async () => {
  const args = [...small, "optim.epochs=1", "optim.updates_per_epoch=4", "benchmark_no_load=true"];
  const { code, output } = await run("benchmark", "train", args);
  assert.equal(code, 0, output);
});

for (const jit of ["none", "graph", "xla"]) {
  for (const autocast of [false, true]) {
    test(`two epochs run with jit=${jit} in ${autocast ? "bfloat16" : "float32"}, and the loss falls`, async () => {
      const name = `${jit}-${autocast}`;
      const args = [
        ...small,
        "optim.updates_per_epoch=3",
        `jit=${jit}`,
        `autocast=${autocast}`,
        `label=${name}`,
      ];
      const { code, output } = await run(name, "train", args);
      assert.equal(code, 0, output);
      const history = JSON.parse(readFileSync(join(experiment(name), "history.json"), "utf8"));
      assert.ok(history[1].valid.ce < history[0].valid.ce, output);
    });
  }
}

for (const [what, args, expected] of [
  ["an unknown key", ["optim.learning_rate=1"], /error: .*optim\.learning_rate/],
  ["a key with a typing mistake", ["optim.max_nrom=1"], /error: .*max_nrom.*did you mean.*max_norm/s],
  ["a value of the wrong type", ["optim.epochs=many"], /error: .*optim\.epochs.*integer/s],
  ["a missing manifest", ["datasource.train=nowhere/at/all"], /error: .*nowhere\/at\/all/],
  ["an option that is not built", ["fsdp.use=true"], /error: fsdp\.use=true is not built/],
  ["a solver that is not built", ["solver=magnet/magnet_32khz"], /error: .*magnet/],
  ["an unknown solver", ["solver=musicgen/nothing"], /error: .*musicgen\/nothing/],
] as const) {
  test(`${what} is one message without a stack, and exit code 1`, async () => {
    const { code, output } = await run("bad", "train", [...small, ...args]);
    assert.equal(code, 1, output);
    assert.match(output, expected);
    assert.doesNotMatch(output, /\n\s+at /);
  });
}

for (const [what, content, expected] of [
  [
    "a manifest line that is not JSON",
    '{"path": "a.wav", "duration": 1, "sample_rate": 16000}\nnot json\n',
    /data\.jsonl:2/,
  ],
  ["an empty data set", "", /error: .*bad-data.*(empty|no )/s],
] as const) {
  test(`${what} is named with its file`, async () => {
    const bad = join(folder, "bad-data");
    mkdirSync(bad, { recursive: true });
    writeFileSync(join(bad, "data.jsonl"), content);
    const { code, output } = await run("bad", "train", [...small, `datasource.train=${bad}`]);
    assert.equal(code, 1, output);
    assert.match(output, expected);
    assert.doesNotMatch(output, /\n\s+at /);
  });
}

test("without the hub's files and without network, the real model names the missing file and how to provide it", async () => {
  const env = `export HF_HUB_OFFLINE=1 HF_HUB_CACHE=${join(folder, "empty-hub")}`;
  const { code, output } = await run(
    "hub",
    "train",
    ["solver=musicgen/musicgen_base_32khz", ...small.filter((arg) => /dataset|datasource/.test(arg))],
    { shell: env },
  );
  assert.equal(code, 1, output);
  assert.match(output, /error: .*facebook\/encodec_32khz/s);
  assert.match(output, /empty-hub/);
  assert.doesNotMatch(output, /\n\s+at /);
});
