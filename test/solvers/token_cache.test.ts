/** Whole runs with caches of tokens, as a user starts them. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { openSafetensors } from "../../src/checkpoint/safetensors.ts";
import { asMusicGenConfig, composeTrainConfig } from "../../src/config/index.ts";
import { UserError } from "../../src/errors.ts";
import { checkCacheOptions, openedCache } from "../../src/solvers/token_cache.ts";
import { experiment, folder, makeData, run, small } from "./whole_runs.ts";

before(makeData);

const updates = join(folder, "updates");
const files = join(folder, "files");
/** Sections of a checkpoint: all but the best state, which a run that writes a cache does not keep. */
const trained = ["model.", "optimizer.", "ema."];

function assertSameTraining(expected: string, actual: string): void {
  const [a, b] = [expected, actual].map((xp) =>
    openSafetensors(join(experiment(xp), "checkpoint.safetensors")),
  );
  const names = a.names.filter((name) => trained.some((section) => name.startsWith(section)));
  assert.ok(names.length > 20);
  for (const name of names) assert.deepEqual(b.read(name), a.read(name), name);
}

test("a run on the cache that another has written ends with that run's weights, to the bit; the writing one keeps no best state", async () => {
  const writing = await run("writing", "train", [...small, `cache.path=${updates}`, "cache.write=true"]);
  assert.equal(writing.code, 0, writing.output);
  const { names } = openSafetensors(join(experiment("writing"), "checkpoint.safetensors"));
  assert.ok(!names.some((name) => name.startsWith("best_state")));
  const reading = await run("reading", "train", [...small, `cache.path=${updates}`]);
  assert.equal(reading.code, 0, reading.output);
  assertSameTraining("writing", "reading");
});

test("jobs that share the epochs by cache.write_shard write the cache of one job", async () => {
  const shared = join(folder, "shared");
  for (const shard of [0, 1]) {
    const sharding = ["cache.write=true", `cache.write_shard=${shard}`, "cache.write_num_shards=2"];
    const { code, output } = await run(`shard${shard}`, "train", [
      ...small,
      `cache.path=${shared}`,
      ...sharding,
    ]);
    assert.equal(code, 0, output);
    assert.deepEqual(readdirSync(join(shared, `job-${shard}`)).sort(), [
      `epoch-0000${shard + 1}.data`,
      `epoch-0000${shard + 1}.index`,
    ]);
    const name = `epoch-0000${shard + 1}.data`;
    assert.deepEqual(
      readFileSync(join(shared, `job-${shard}`, name)),
      readFileSync(join(updates, "job-0", name)),
    );
  }
});

test("npm run cache, killed in the middle, goes on where it was; --check finds it whole; another codec is refused by name", async () => {
  const killed = await run("cache", "cache", [...small, `cache.path=${files}`], {
    onOutput: (output, kill) => {
      if (/ of \d+ files; about/.test(output)) kill("SIGKILL");
    },
  });
  assert.equal(killed.code, null, killed.output);
  const again = await run("cache", "cache", [...small, `cache.path=${files}`]);
  assert.equal(again.code, 0, again.output);
  const [, coded, present] = /(\d+) files coded .* (\d+) were there, 0 cannot be read/.exec(again.output)!;
  assert.ok(Number(coded) > 0 && Number(present) > 0, again.output);
  const check = await run("cache", "cache", [`cache.path=${files}`, "--check"]);
  assert.equal(check.code, 0);
  assert.match(check.output, new RegExp(`: ${Number(coded) + Number(present)} records, .* 0 damaged`));
  const other = await run("cache", "train", [...small, `cache.path=${files}`, "transformer_lm.n_q=2"]);
  assert.equal(other.code, 1);
  assert.match(other.output, /error: cache\.path=.* does not fit this run: it has n_q 4, not 2/);
});

test("on a cache of files, a run interrupted in mid-epoch ends with the weights of an uninterrupted one; the codec is loaded only to generate, when validation is cached too", async () => {
  const both = [...small, `cache.path=${join(folder, "both")}`, "cache.splits=[train,valid]"];
  const filling = await run("cache", "cache", both);
  assert.equal(filling.code, 0, filling.output);
  const whole = await run("whole", "train", both);
  assert.equal(whole.code, 0, whole.output);
  const places = ["Valid Summary | Epoch 2", "loading the codec", "samples with their prompts"].map((text) =>
    whole.output.indexOf(text),
  );
  assert.ok(places[0] > 0 && places[0] < places[1] && places[1] < places[2], whole.output);
  let sent = false;
  const interrupted = await run("interrupted", "train", both, {
    onOutput: (output, kill) => {
      if (sent || !/Train \| Epoch 1 \| 1\/6/.test(output)) return;
      sent = true;
      kill("SIGINT");
    },
  });
  assert.equal(interrupted.code, 130, interrupted.output);
  const resumed = await run("interrupted", "train", both);
  assert.equal(resumed.code, 0, resumed.output);
  assertSameTraining("whole", "interrupted");
});

test("what a cache of tokens cannot serve is refused by the options alone", () => {
  const refusals: [string[], RegExp][] = [
    [["cache.write=true"], /cache\.write=true needs cache\.path/],
    [[`cache.path=${join(folder, "nothing")}`], /holds no token cache.*npm run cache -- cache\.path/],
    [
      [`cache.path=${files}`, "cache.write=true", "cache.write_shard=2", "cache.write_num_shards=2"],
      /cache\.write_shard=2 must be below cache\.write_num_shards=2/,
    ],
    [
      [`cache.path=${files}`, "conditioner=chroma2music"],
      /conditioners\.self_wav needs the audio.*chroma_stem\.cache_path=FOLDER/,
    ],
    [[`cache.path=${files}`, "conditioner=style2music"], /model=style needs the audio/],
    [[`cache.path=${files}`, "conditioner=clapemb2music"], /joint embeddings .*model=clap/],
    [[`cache.path=${files}`, "cache.splits=[generate]"], /"generate" is none of train, valid/],
  ];
  for (const [overrides, message] of refusals) {
    const cfg = asMusicGenConfig(composeTrainConfig(overrides));
    assert.throws(
      () => {
        checkCacheOptions(cfg);
        openedCache(cfg);
      },
      (error: Error) => error instanceof UserError && message.test(error.message),
      String(message),
    );
  }
});
