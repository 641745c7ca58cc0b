/** Where weights come from: files tell the runs that made them. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { embeddedFile, embeddedName } from "../src/checkpoint/embedded.ts";
import { openSafetensors, writeSafetensors } from "../src/checkpoint/safetensors.ts";
import { composeTrainConfig } from "../src/config/index.ts";
import { UserError } from "../src/errors.ts";
import { type TrainingRun, trainingRuns } from "../src/export/provenance.ts";

const doraDir = mkdtempSync(join(tmpdir(), "provenance-"));
after(() => rmSync(doraDir, { recursive: true }));

async function checkpoint(signature: string, overrides: string[]): Promise<string> {
  const folder = join(doraDir, "xps", signature);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, ".argv.json"), JSON.stringify(overrides));
  const path = join(folder, "checkpoint.safetensors");
  await writeSafetensors(path, [{ name: "x", dtype: "F32", shape: [1], data: () => new Float32Array(1) }], {
    "xp.cfg": composeTrainConfig(overrides).toYaml(),
    "xp.sig": signature,
    "xp.argv": JSON.stringify(overrides),
    git_commit: "abc",
    history: JSON.stringify([{ train: { duration: 61 }, valid: { duration: 3.2 } }]),
  });
  return path;
}

test("a run that continued from another one is told after it, each with command, seed, commit and time", async () => {
  await checkpoint("aaaa1111", ["seed=7"]);
  const path = await checkpoint("bbbb2222", ["continue_from=//sig/aaaa1111"]);
  const runs = trainingRuns(path, doraDir);
  assert.deepEqual(
    runs.map(({ command, signature, seed }) => [command, signature, seed]),
    [
      ["npm run train -- seed=7", "aaaa1111", 7],
      ["npm run train -- continue_from=//sig/aaaa1111", "bbbb2222", 2036],
    ],
  );
  assert.deepEqual([runs[1].git_commit, runs[1].epochs, runs[1].seconds], ["abc", 1, 64]);
  assert.match(runs[1].finished, /^\d{4}-\d\d-\d\dT\d\d:\d\dZ$/);
});

test("a run that has been removed since ends the list, and is no error", async () => {
  const path = await checkpoint("cccc3333", ["continue_from=//sig/dddd4444"]);
  assert.equal(trainingRuns(path, doraDir).length, 1);
});

test("the shipped files say how they were made: commands, seeds, commits, times; 12 MiB in all at most", () => {
  let bytes = 0;
  for (const [spec, solver] of [
    ["//embedded/encodec_tiny_16khz", "compression/encodec_tiny_16khz"],
    ["default", "musicgen/example_16khz"],
  ]) {
    const file = embeddedFile(spec)!;
    const reader = openSafetensors(file);
    bytes += statSync(file).size;
    const runs = JSON.parse(reader.metadata.provenance) as TrainingRun[];
    reader.close();
    assert.ok(runs.length > 0);
    for (const { command, seed, git_commit, seconds, finished } of runs) {
      assert.match(command, new RegExp(`^npm run train -- solver=${solver}`));
      assert.match(git_commit, /^[0-9a-f]{40}(-dirty)?$/);
      assert.ok(seed > 0 && seconds > 0 && finished !== "");
    }
    assert.equal(embeddedName(file), file.match(/(\w+)\.safetensors$/)![1]);
  }
  assert.ok(bytes < 12 * 2 ** 20, `${bytes}`);
});

test("an embedded model that there is not is refused with those that there are", () => {
  assert.throws(
    () => embeddedFile("//embedded/none"),
    (error) => error instanceof UserError && /there are .*encodec_tiny_16khz/.test(error.message),
  );
  assert.equal(embeddedFile("a1b2c3d4"), null);
  assert.equal(embeddedName("/elsewhere/musicgen_tiny_16khz.safetensors"), null);
});
