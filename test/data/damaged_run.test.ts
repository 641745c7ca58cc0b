/** A training run on a data set most of whose files are damaged. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { folder, makeData, run, small } from "../solvers/whole_runs.ts";
import { type Damaged, makeDamagedFiles } from "./damaged_files.ts";

let damaged: Damaged[] = [];
const corpus = await makeDamagedFiles(join(folder, "bad"), 4);
damaged = corpus.files;
after(corpus.close);
before(makeData);

test("training survives damaged files, names each once and counts the failed reads", {
  timeout: 300_000,
}, async () => {
  const rows = damaged.map(({ meta }) => JSON.stringify({ path: meta.path, duration: meta.duration }));
  const manifest = join(folder, "mostly_damaged.jsonl");
  writeFileSync(manifest, `${rows.join("\n")}\n${readFileSync(join(folder, "data", "data.jsonl"), "utf8")}`);
  const batches = Math.ceil((damaged.length + 10) / 4);
  const { code, output } = await run("damaged", "train", [
    ...small,
    `datasource.train=${manifest}`,
    "dataset.batch_size=4",
    "dataset.num_workers=2",
    "dataset.sample_on_duration=false",
    "dataset.sample_on_weight=false",
    "dataset.train.permutation_on_files=true",
    "optim.epochs=1",
    `optim.updates_per_epoch=${batches}`,
  ]);
  assert.equal(code, 0, output);
  assert.match(output, /Train Summary \| Epoch 1 \| /);
  assert.doesNotMatch(output, /ce=nan|ppl=nan/i);
  const failed = /; (\d+) reads failed and were replaced/.exec(output);
  assert.ok(failed, output);
  const named = damaged.filter(({ meta }) => output.includes(`${meta.path}: `));
  assert.ok(Number(failed[1]) >= named.length && named.length >= 40, `${failed[1]} ${named.length}`);
  for (const { meta } of named) assert.equal(output.split(`${meta.path}: `).length, 2, meta.path);
});
